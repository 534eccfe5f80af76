const UNITS = ["B", "KB", "MB", "GB", "TB"] as const;
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

export function formatBytes(bytes: number): string {
  const step = bytes < 1 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1);
  const value = bytes / 1000 ** step;
  return `${value.toFixed(step === 0 || value >= 10 ? 0 : 1)} ${UNITS[step] ?? "B"}`;
}

export const formatSeconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;

export const plural = (count: number, noun: string): string => `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;

export const formatCount = (count: number): string => new Intl.NumberFormat("en").format(count);

const day = (date: Date, now: Date): string => {
  const away = Math.round((startOfDay(date) - startOfDay(now)) / (DAY_S * 1000));
  if (away === 0) return "today";
  if (Math.abs(away) === 1) return away > 0 ? "tomorrow" : "yesterday";
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year });
};

const startOfDay = (date: Date): number => new Date(date).setHours(0, 0, 0, 0);

const clock = (date: Date): string => date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

/** How long ago, in words: "just now", "5 min ago", "yesterday", "3 May 2025". */
export function formatAgo(time: string, now = new Date()): string {
  const date = new Date(time);
  const seconds = (now.getTime() - date.getTime()) / 1000;
  if (seconds < MINUTE_S) return "just now";
  if (seconds < HOUR_S) return `${Math.floor(seconds / MINUTE_S)} min ago`;
  const when = day(date, now);
  return when === "today" ? `today at ${clock(date)}` : when;
}

/** A day: "today", "tomorrow", "3 May 2025". */
export const formatDay = (time: string, now = new Date()): string => day(new Date(time), now);

/** To the minute, for a log. */
export const formatTime = (time: string, now = new Date()): string =>
  `${day(new Date(time), now)}, ${clock(new Date(time))}`;

/** When something is possible again: "in 45 s", "in 12 min", "at 18:30", "tomorrow at 00:00". */
export function formatWait(seconds: number, now = new Date()): string {
  if (seconds <= 90) return `in ${seconds} s`;
  if (seconds <= 90 * MINUTE_S) return `in ${Math.ceil(seconds / MINUTE_S)} min`;
  const then = new Date(now.getTime() + seconds * 1000);
  const when = day(then, now);
  return when === "today" ? `at ${clock(then)}` : `${when} at ${clock(then)}`;
}
