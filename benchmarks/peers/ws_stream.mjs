// Node `ws`, as its documentation broadcasts: one send() for each socket that wants a message.
// The path asks for symbols, /?s=AAPL,IBM; Redis brings their messages on t:<symbol>.
import { Redis } from "ioredis";
import { WebSocketServer } from "ws";

const audiences = new Map(); // symbol → sockets
const server = new WebSocketServer({
  port: Number(process.env.PORT),
  host: "127.0.0.1",
  perMessageDeflate: false,
  backlog: 4096,
});
server.on("connection", (socket, request) => {
  const symbols = request.url.split("s=")[1].split(",");
  for (const symbol of symbols) {
    if (!audiences.has(symbol)) audiences.set(symbol, new Set());
    audiences.get(symbol).add(socket);
  }
  socket.on("close", () => symbols.forEach((symbol) => audiences.get(symbol).delete(socket)));
  socket.on("error", () => {});
});

const redis = new Redis(process.env.REDIS_URL);
redis.psubscribe("t:*");
redis.on("pmessageBuffer", (_pattern, channel, message) => {
  const audience = audiences.get(channel.toString().slice(2));
  if (audience) for (const socket of audience) socket.send(message, { binary: false });
});
