/** The runs of this tab, oldest first, so that a reload brings their answers back; ids are no secrets. */
const KEY = "lorestream.runs";
const KEPT = 20;

export function rememberedRuns(): string[] {
  try {
    const value: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(value) ? value.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

export function rememberRun(runId: string): void {
  const others = rememberedRuns().filter((id) => id !== runId);
  save([...others, runId].slice(-KEPT));
}

export function forgetRun(runId: string): void {
  save(rememberedRuns().filter((id) => id !== runId));
}

export function forgetRuns(): void {
  save([]);
}

function save(runIds: string[]): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(runIds));
  } catch {
    // Storage is switched off: a reload starts afresh.
  }
}
