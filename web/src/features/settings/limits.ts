import { LIMIT_LABELS } from "../../api/limit-names";
import type { LimitView } from "../../api/types";
import { formatBytes, formatCount, formatWait } from "../../ui/format";

const ORDER = Object.keys(LIMIT_LABELS);

export interface LimitWords {
  name: string;
  label: string;
  /** "1.2 GB of 5.0 GB", or what is used where there is no limit. */
  used: string;
  /** What remains, and when it begins anew. */
  left: string;
  /** From 0 to 1; null without a limit. */
  share: number | null;
  full: boolean;
}

/** The limits of a user in words, what fills up slowly first. */
export function inWords(limits: readonly LimitView[], now = new Date()): LimitWords[] {
  return limits.toSorted((a, b) => ORDER.indexOf(a.name) - ORDER.indexOf(b.name)).map((limit) => words(limit, now));
}

function words({ name, limit, used, resets_at: resetsAt }: LimitView, now: Date): LimitWords {
  const show = name === "stored_bytes" ? formatBytes : formatCount;
  const label = LIMIT_LABELS[name];
  if (limit === 0) return { name, label, used: show(used), left: "No limit.", share: null, full: false };
  const remaining = Math.max(0, limit - used);
  const full = remaining === 0;
  const left = full ? "Nothing left" : `${show(remaining)} left`;
  const wait = resetsAt && used > 0 ? Math.ceil((Date.parse(resetsAt) - now.getTime()) / 1000) : 0;
  return {
    name,
    label,
    used: `${show(used)} of ${show(limit)}`,
    left: `${left}${wait > 0 ? `; begins anew ${formatWait(wait, now)}` : ""}.`,
    share: Math.min(1, used / limit),
    full,
  };
}
