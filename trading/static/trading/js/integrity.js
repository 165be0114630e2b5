// Whether everything that the server sent has arrived: what makes "nothing new" differ from "mute".
//
// The heartbeat says how many messages this socket was sent and which quotes are the newest; trades
// and bars are numbered without gaps per symbol. Quotes may jump: slow readers get the newest only.

const GAPLESS = new Set(["t", "b"]);

export class Integrity {
  constructor() {
    this.begin();
  }

  /** A new connection starts counting anew. */
  begin() {
    this.frames = 0;
    this.last = new Map();
  }

  /** The symbol's stream goes on from this place, [epoch, number] of its last trade. */
  startAt(symbol, place) {
    if (place) this.last.set(`t ${symbol}`, place);
  }

  /** False where messages are missing between this one and the last of its symbol and kind. */
  follows({ T: kind, S: symbol, seq, epoch }) {
    if (seq === undefined || !GAPLESS.has(kind)) return true;
    const key = `${kind} ${symbol}`;
    const before = this.last.get(key);
    if (before && !isNewer([epoch, seq], before)) return true;
    this.last.set(key, [epoch, seq]);
    return before === undefined || before[0] !== epoch || seq === before[1] + 1;
  }

  /** The symbols whose newest trade, by a heartbeat's places, did not arrive here. */
  behind(places) {
    const late = Object.entries(places).filter(([symbol, place]) => {
      const known = this.last.get(`t ${symbol}`);
      return known === undefined || isNewer(place, known);
    });
    for (const [symbol, place] of late) this.last.set(`t ${symbol}`, place); // told once
    return late.map(([symbol]) => symbol);
  }

  /** Whether the count of a heartbeat is ours; one difference is told once. */
  agrees(sent) {
    if (sent === undefined || sent === this.frames) return true;
    this.frames = sent;
    return false;
  }
}

/** Whether one place [epoch, number] in a stream is behind another. */
export function isNewer([epoch, number], [otherEpoch, otherNumber]) {
  return epoch === otherEpoch ? number > otherNumber : epoch > otherEpoch;
}
