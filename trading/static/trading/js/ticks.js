// The latest quote and trade of each symbol: newest wins, and who changed since the last paint.

import { isNewer } from "./socket.js";
import { day } from "./new-york.js";

const ID_EPOCH = 2 ** 32; // a trade's id is its epoch times this, plus its number

/** What the screen knows of one symbol; null means not known. */
function blank(symbol) {
  return {
    symbol,
    bid: null,
    bidSize: null,
    ask: null,
    askSize: null,
    quoteAt: null,
    quotePlace: null, // [epoch, number] of the quote, where the stream told it
    last: null,
    lastSize: null,
    tradeAt: null,
    rank: null, // of the last price: [epoch, number, version], where the trade told it
    previousClose: null,
    day: null,
    halted: false,
    missed: false, // something was lost on the way: not to be trusted until the stream says so
    streamed: false, // the stream tells of it: else a quote is as old as the answer that brought it
  };
}

export class Ticks {
  constructor() {
    this.rows = new Map();
    this.changed = new Set();
  }

  get(symbol) {
    if (!this.rows.has(symbol)) this.rows.set(symbol, blank(symbol));
    return this.rows.get(symbol);
  }

  /**
   * A quote of the wire. A price of 0 means that there is no such side. The stream's are in the order
   * of their places, whatever their instants; the API's have none, and count where they are later.
   */
  quote(symbol, quote) {
    const row = this.get(symbol);
    const at = Date.parse(quote.t);
    const place = quote.seq === undefined ? null : [quote.epoch, quote.seq];
    const isEarlier = row.quoteAt !== null && at <= row.quoteAt;
    if (place ? isBehind(place, row.quotePlace) : isEarlier) return;
    row.bid = quote.bp || null;
    row.ask = quote.ap || null;
    row.bidSize = quote.bs ?? null;
    row.askSize = quote.as ?? null;
    row.quoteAt = at;
    row.quotePlace = place ?? row.quotePlace;
    this.changed.add(symbol);
  }

  /**
   * A trade of the wire; one that only counts as volume is not the last price. A canceled one is
   * told where nobody knows the price before it: then there is none until the next trade.
   */
  trade(symbol, trade) {
    const row = this.get(symbol);
    const rank = rankOf(trade);
    const at = Date.parse(trade.t);
    if (trade.sets_price === false || isPast(row, rank, at)) return;
    const isPrice = trade.u !== "canceled";
    row.last = isPrice ? trade.p : null;
    row.lastSize = (isPrice && trade.s) || null;
    row.tradeAt = isPrice ? at : null;
    row.rank = rank;
    this.changed.add(symbol);
  }

  /** A correction or cancellation of the wire: it says what the last price is, if another. */
  amendment(symbol, { last }) {
    if (last) this.trade(symbol, last);
  }

  /** A trading status of the wire: "T" is trading, anything else a halt or a pause. */
  status(symbol, message) {
    this.halt(symbol, message.sc !== "T");
  }

  halt(symbol, halted) {
    this.get(symbol).halted = halted;
    this.changed.add(symbol);
  }

  /** Where the stream begins for a symbol. */
  standing(symbol, { quote, trade, halted = null }) {
    if (halted !== null) this.halt(symbol, halted);
    if (quote) this.quote(symbol, quote);
    if (trade) this.trade(symbol, trade);
  }

  /**
   * A snapshot of the REST API. It may be older than what the stream lost, so that heals nothing.
   * `today` is the market's date; before the first trade of a day, the newest daily bar is that of
   * the session before.
   */
  snapshot(symbol, snapshot, today) {
    const row = this.get(symbol);
    const { latestQuote, latestTrade, dailyBar = null, prevDailyBar = null } = snapshot;
    const isToday = dailyBar !== null && day(Date.parse(dailyBar.t)) === today;
    this.standing(symbol, { quote: latestQuote, trade: latestTrade });
    row.previousClose = (isToday ? prevDailyBar : dailyBar)?.c ?? null;
    row.day = isToday ? dailyBar : null;
    this.changed.add(symbol);
  }

  /** The symbol lost messages on the way. */
  miss(symbol) {
    this.get(symbol).missed = true;
    this.changed.add(symbol);
  }

  /** What the symbol lost is here again. */
  heal(symbol) {
    this.get(symbol).missed = false;
    this.changed.add(symbol);
  }

  /** The stream has told where the symbol stands, and goes on from there. */
  join(symbol) {
    const row = this.get(symbol);
    if (row.streamed) return;
    row.streamed = true;
    this.changed.add(symbol);
  }

  /** No stream tells of these symbols now; the one that does next says anew where they stand. */
  leave(symbols) {
    for (const symbol of symbols) {
      Object.assign(this.get(symbol), { streamed: false, missed: false });
      this.changed.add(symbol);
    }
  }

  /** The symbols whose newest quote, by a heartbeat's places, did not arrive here. */
  behind(places) {
    const late = Object.entries(places).filter(([symbol, place]) => {
      const known = this.get(symbol).quotePlace;
      return known === null || isNewer(place, known);
    });
    for (const [symbol, place] of late) this.get(symbol).quotePlace = place; // told once
    return late.map(([symbol]) => symbol);
  }

  /** The symbols that changed since the last call. */
  take() {
    const taken = this.changed;
    this.changed = new Set();
    return taken;
  }
}

function isBehind(place, known) {
  return known !== null && isNewer(known, place);
}

// Which of two last prices is the newer: a print is by its number, and what the feed says after an
// amendment comes after the print whose place it takes. The API's trades have that in their id.
function rankOf({ rank, epoch, seq, i }) {
  if (rank) return rank;
  if (seq !== undefined) return [epoch, seq, 0];
  return i === undefined ? null : [Math.floor(i / ID_EPOCH), i % ID_EPOCH, 0];
}

// Whether something newer is known already: an answer may have been overtaken.
function isPast(row, rank, at) {
  if (rank === null || row.rank === null) return row.tradeAt !== null && at < row.tradeAt;
  const differs = rank.findIndex((part, index) => part !== row.rank[index]);
  return differs >= 0 && rank[differs] < row.rank[differs];
}

/** Change since the previous close, as {amount, fraction}; nulls where either is not known. */
export function change(row) {
  if (row.last === null || !row.previousClose) return { amount: null, fraction: null };
  const amount = Math.round((row.last - row.previousClose) * 10_000) / 10_000;
  return { amount, fraction: amount / row.previousClose };
}

/** The instant of what is newest of a symbol, in market milliseconds. */
export function newest(row) {
  return row.quoteAt === null && row.tradeAt === null
    ? null
    : Math.max(row.quoteAt ?? 0, row.tradeAt ?? 0);
}
