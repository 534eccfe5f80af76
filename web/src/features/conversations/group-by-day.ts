export interface Group<T> {
  label: string;
  items: T[];
}

const DAY_MS = 86_400_000;

/** Runs of items under the day, the week or the month they were last used in, in the order they come. */
export function groupByDay<T extends { updated_at: string }>(items: readonly T[], now: Date): Group<T>[] {
  const groups: Group<T>[] = [];
  for (const item of items) {
    const label = labelOf(new Date(item.updated_at), now);
    const group = groups.at(-1);
    if (group?.label === label) group.items.push(item);
    else groups.push({ label, items: [item] });
  }
  return groups;
}

function labelOf(date: Date, now: Date): string {
  const days = Math.round((midnight(now) - midnight(date)) / DAY_MS);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= 7) return "The last 7 days";
  const year = date.getFullYear() === now.getFullYear() ? {} : ({ year: "numeric" } as const);
  return date.toLocaleDateString("en", { month: "long", ...year });
}

const midnight = (date: Date): number => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
