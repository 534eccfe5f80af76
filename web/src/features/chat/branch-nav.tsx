import type { Message } from "../../api/types";
import { IconButton } from "../../ui/button";
import styles from "./branch-nav.module.css";
import type { Branches } from "./turns";

/** "2 of 3": which version this is, and the way to those beside it. */
export function BranchNav({ of, onGo }: { of: Branches | null; onGo: (message: Message) => void }) {
  if (!of) return null;
  const { all, index } = of;
  const go = (to: Message | undefined) => to && onGo(to);
  return (
    <span className={styles.nav} role="group" aria-label="Versions">
      <IconButton
        icon="left"
        label="Earlier version"
        disabled={index === 0}
        onClick={() => go(all[index - 1])}
        data-testid="branch-prev"
      />
      <span data-testid="branch-label">
        {index + 1} of {all.length}
      </span>
      <IconButton
        icon="right"
        label="Later version"
        disabled={index === all.length - 1}
        onClick={() => go(all[index + 1])}
        data-testid="branch-next"
      />
    </span>
  );
}
