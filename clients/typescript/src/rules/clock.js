// The offset of the device's clock, and the pauses between sendings.

import { PAUSE_FIRST, PAUSE_LONGEST } from "./numbers.js";

/**
 * Return the new offset. A slow answer does not move the clock: only an answer that contradicts the offset does.
 * @param {number} offset @param {number} before the clock before the sending @param {number} after @param {number | null} stated
 */
export const newOffset = (offset, before, after, stated) =>
  stated === null || (stated >= before + offset - 1 && stated <= after + offset + 1) ? offset : stated - (before + after) / 2;

/**
 * Return the next pause: exponential back-off with full jitter, after `Retry-After` (rule 5).
 * @param {number} pauses those so far @param {number} draw from 0 to 1 @param {number} atLeast
 */
export const pauseLength = (pauses, draw, atLeast) =>
  atLeast + draw * Math.min(PAUSE_LONGEST, PAUSE_FIRST * 2 ** Math.min(pauses, 16));
