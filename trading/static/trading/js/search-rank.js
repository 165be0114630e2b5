// Which instruments a few typed letters mean, best first.

const MOST = 12;

/** Assets whose symbol or company fits: the symbol itself, then its beginnings, then names. */
export function matches(assets, typed) {
  const wanted = typed.trim().toLowerCase();
  return assets
    .map((asset) => ({ asset, rank: rank(asset, wanted) }))
    .filter(({ rank: place }) => place !== null)
    .sort((a, b) => a.rank - b.rank || a.asset.symbol.localeCompare(b.asset.symbol))
    .slice(0, MOST)
    .map(({ asset }) => asset);
}

function rank({ symbol, name }, wanted) {
  const ticker = symbol.toLowerCase();
  const company = (name ?? "").toLowerCase();
  if (ticker === wanted) return 0;
  if (ticker.startsWith(wanted)) return 1;
  if (company.startsWith(wanted)) return 2;
  if (company.includes(` ${wanted}`)) return 3;
  return ticker.includes(wanted) ? 4 : null;
}
