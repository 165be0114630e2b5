// Fastify with ioredis on two processes: the newest quotes of some symbols, without keys or limits.
import cluster from "node:cluster";
import Fastify from "fastify";
import Redis from "ioredis";

const WORKERS = 2;

if (cluster.isPrimary) {
  for (let worker = 0; worker < WORKERS; worker += 1) cluster.fork();
} else {
  const redis = new Redis(process.env.REDIS_URL);
  const app = Fastify();
  app.get("/v2/stocks/quotes/latest", async (request) => {
    const wanted = [...new Set(request.query.symbols.split(","))].sort();
    const values = await redis.mget(wanted.map((symbol) => `peer:${symbol}`));
    const quotes = {};
    wanted.forEach((symbol, place) => {
      if (values[place] !== null) quotes[symbol] = JSON.parse(values[place]);
    });
    return { quotes };
  });
  await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
}
