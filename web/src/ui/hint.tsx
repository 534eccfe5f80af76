import { useLayoutEffect, useRef, type ReactNode, type RefObject } from "react";

import styles from "./hint.module.css";

const GAP_PX = 6;

interface Props {
  id: string;
  /** What it says something about: it stands above it, or below where there is no room. */
  at: RefObject<HTMLElement | null>;
  children: ReactNode;
}

/** A few words about something that is pointed at or has the focus; in the top layer, so that nothing cuts it off. */
export function Hint({ id, at, children }: Props) {
  const hint = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    const shown = hint.current;
    const from = at.current?.getBoundingClientRect();
    if (!shown || !from) return;
    shown.showPopover();
    const { offsetWidth: width, offsetHeight: height } = shown;
    const above = from.top - GAP_PX - height;
    const left = from.left + from.width / 2 - width / 2;
    shown.style.top = `${above >= GAP_PX ? above : from.bottom + GAP_PX}px`;
    shown.style.left = `${Math.max(GAP_PX, Math.min(left, innerWidth - width - GAP_PX))}px`;
    return () => shown.hidePopover();
  }, [at]);
  return (
    <span ref={hint} id={id} popover="manual" role="tooltip" className={styles.hint}>
      {children}
    </span>
  );
}
