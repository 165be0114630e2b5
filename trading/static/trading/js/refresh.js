// Refetching without a storm: one request at a time, and one more if somebody asked meanwhile.

/** A function that runs `load`; calls made while it runs lead to exactly one further run. */
export function coalesced(load) {
  let running = null;
  let again = false;
  const run = async () => {
    try {
      do {
        again = false;
        await load();
      } while (again);
    } finally {
      running = null;
    }
  };
  return () => {
    if (running) again = true;
    else running = run();
    return running;
  };
}

/** A function whose calls lead to one `run`, `ms` after the first of them. */
export function gathered(run, ms, wait = setTimeout) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    wait(() => {
      waiting = false;
      run();
    }, ms);
  };
}
