// Bid and ask of the ticket's symbol, with sizes and the spread between them.

import { part, write } from "./dom.js";
import { price, quantity, step } from "./format.js";

export function showTouch(quote) {
  write(part("touch-bid"), price(quote?.bid));
  write(part("touch-ask"), price(quote?.ask));
  write(part("touch-bid-size"), quote?.bid ? quantity(quote.bidSize) : "");
  write(part("touch-ask-size"), quote?.ask ? quantity(quote.askSize) : "");
  const spread = quote?.bid && quote?.ask ? step(quote.ask - quote.bid) : "";
  write(part("touch-spread"), spread);
}
