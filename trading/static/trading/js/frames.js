// Paints at most once per animation frame, whatever the market sends in between.

/** A function that may be called at any rate and runs `paint` once in the next frame. */
export function perFrame(paint, schedule = globalThis.requestAnimationFrame) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    schedule(() => {
      waiting = false;
      paint();
    });
  };
}
