import { formatWait } from "./format";
import { useSecondsUntil } from "./use-seconds-until";

/** When something may be tried again, counting down. Not read out with every second: what it stands beside was. */
export function RetryNote({ at }: { at: number | null }) {
  const seconds = useSecondsUntil(at);
  if (at === null) return null;
  return (
    <span role="timer" aria-live="off" data-testid="retry-note">
      {seconds > 0 ? `Possible again ${formatWait(seconds)}.` : "Possible again now."}
    </span>
  );
}
