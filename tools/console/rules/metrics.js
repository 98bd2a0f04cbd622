// The curves of the metrics of a stage. Pure functions.
export const WIDTH = 320;
export const HEIGHT = 72;
const TOP = 4; // The line is not cut at the highest value.

/** The runs of points of an SVG path. A point without a value is a gap. @param {[number, number | null][]} points */
export function path(points) {
  const most = highest(points) || 1;
  const step = WIDTH / Math.max(1, points.length - 1);
  let drawing = false;
  return points
    .map(([, value], index) => {
      const starts = !drawing;
      drawing = value !== null;
      if (value === null) return "";
      const x = Math.round(index * step * 10) / 10;
      const y = Math.round((HEIGHT - (value / most) * (HEIGHT - TOP)) * 10) / 10;
      return starts ? `M${x} ${y}h0` : `L${x} ${y}`; // A single point is a dot.
    })
    .join("");
}

export const highest = (points) => Math.max(0, ...points.map(([, value]) => value ?? 0));
export const total = (points) => points.reduce((sum, [, value]) => sum + (value ?? 0), 0);
export const number = (value) => (value === null ? "none" : (Math.round(value * 10) / 10).toLocaleString("en"));

/** What the line shows, in one sentence. */
export function sentence({ title, unit, points }, hours) {
  const some = points.some(([, value]) => value !== null);
  const span = hours === 168 ? "seven days" : `${hours} hours`;
  if (unit === "count") return `${title} in ${span}: ${number(total(points))}, at most ${number(highest(points))} in one interval.`;
  return some ? `${title} in ${span}: at most ${number(highest(points))} ms.` : `${title} in ${span}: no value.`;
}
