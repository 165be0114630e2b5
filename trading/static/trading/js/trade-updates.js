// What a trade update changes on the screen.

import { tradeNotice } from "./notice-text.js";

/** Take one update: the order at once, the portfolio soon from the API, which knows it already. */
export function take(update, { desk, notices, sync }) {
  desk.orders.put([update.order]);
  desk.tell("orders");
  sync.portfolioSoon();

  const notice = tradeNotice(update);
  if (notice) notices.tell(notice);
}
