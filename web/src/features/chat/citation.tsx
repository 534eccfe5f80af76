import { useId, useRef, useState } from "react";

import type { Source } from "../../api/types";
import { Hint } from "../../ui/hint";
import styles from "./citation.module.css";
import { supportInWords, WEAK_BELOW } from "./supports";

export const placeOf = ({ title, page }: Source): string => (page === null ? title : `${title}, page ${page}`);

interface Props {
  source: Source;
  /** How well the source supports the sentence, from 0 to 1; null while that is not known. */
  support: number | null;
  onOpen: (source: Source) => void;
}

export function Citation({ source, support, onOpen }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const [pointedAt, setPointedAt] = useState(false);
  const words = support === null ? "" : supportInWords(support);
  const on = () => setPointedAt(true);
  const off = () => setPointedAt(false);
  return (
    <>
      <button
        ref={button}
        type="button"
        className={styles.citation}
        aria-label={[`Source ${source.n}: ${placeOf(source)}`, words].filter(Boolean).join(". ")}
        onClick={() => {
          off();
          onOpen(source);
        }}
        onPointerEnter={on}
        onPointerLeave={off}
        onFocus={({ currentTarget }) => currentTarget.matches(":focus-visible") && on()}
        onKeyDown={({ key }) => key === "Escape" && off()}
        onBlur={off}
        data-testid="citation"
        data-n={source.n}
        data-support={support}
        data-weak={support !== null && support < WEAK_BELOW}
      >
        {source.n}
      </button>
      {pointedAt && (
        <Hint id={id} at={button}>
          <span>{placeOf(source)}</span>
          {words && <small data-testid="support">{words}</small>}
        </Hint>
      )}
    </>
  );
}
