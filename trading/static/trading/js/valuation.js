// Profit and loss between two answers of the API, by the API's own formula: quantities, costs and
// cash are the API's, only the price moves. Amounts are exact decimals, fractions plain numbers.

import { number, parse, product, round } from "./decimal.js";

/** The price a holding is valued at: last trade, else mid, else the API's own; null: none yet. */
export function mark(row, position) {
  if (row?.last) return parse(row.last);
  if (row?.bid && row?.ask) return round((parse(row.bid) + parse(row.ask)) / 2n, 4);
  return parse(position.current_price);
}

/** A position of GET /v2/positions at a price; at cost while there is no price, as the API does. */
export function valued(position, price) {
  const cost = parse(position.cost_basis);
  const stated = parse(position.market_value) ?? cost;
  const value = price === null ? stated : product(parse(position.qty), price);
  const moved = value - stated;
  const unrealized = value - cost;
  return {
    price,
    value,
    moved,
    unrealized,
    unrealizedFraction: cost === 0n ? null : number(unrealized) / Math.abs(number(cost)),
    today: (parse(position.unrealized_intraday_pl) ?? 0n) + moved,
  };
}

/** The account of GET /v2/account with its positions, valued just now, in place of the API's. */
export function accountNow(account, valuations) {
  const cash = parse(account.cash);
  const holdings = valuations.reduce((sum, { value }) => sum + value, 0n);
  const equity = cash + holdings;
  const before = parse(account.last_equity);
  const dayProfit = before === null ? null : equity - before;
  return {
    cash,
    equity,
    holdings,
    dayProfit,
    dayFraction: before ? number(dayProfit) / number(before) : null,
    buyingPower: parse(account.buying_power),
  };
}
