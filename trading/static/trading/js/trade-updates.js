// What a trade update changes on the screen.

import { perFrame } from "./frames.js";
import { tradeNotice } from "./notice-text.js";

/**
 * What takes an update: the order is known at once, shown with all others of its frame (a thousand may
 * be canceled together), and the portfolio comes soon from the API, which knows it already.
 */
export function taker(desk, { notices, sync }) {
  const show = perFrame(() => desk.tell("orders"));
  return (update) => {
    desk.orders.put([update.order]);
    show();
    sync.portfolioSoon();

    const notice = tradeNotice(update);
    if (notice) notices.tell(notice);
  };
}
