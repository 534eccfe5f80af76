import { useCallback, useEffect, useRef, useState } from "react";

import type { ViewerTarget } from "../features/documents/viewer";

/** What the viewer shows; closing it gives the focus back to where it was opened from. */
export function useViewer() {
  const [target, setTarget] = useState<ViewerTarget | null>(null);
  const opener = useRef<Element | null>(null);
  const open = (next: ViewerTarget) => {
    // From one passage to the next, the way back stays where the first was opened.
    if (!target) opener.current = document.activeElement;
    setTarget(next);
  };
  const close = useCallback(() => setTarget(null), []);
  const isOpen = target !== null;
  useEffect(() => {
    if (!isOpen) return;
    const onKey = (event: KeyboardEvent) => {
      if (
        event.key === "Escape" &&
        !event.defaultPrevented &&
        !document.querySelector('dialog[open], :popover-open:not([role="tooltip"])')
      )
        close();
    };
    addEventListener("keydown", onKey);
    return () => {
      removeEventListener("keydown", onKey);
      if (opener.current instanceof HTMLElement) opener.current.focus();
    };
  }, [isOpen, close]);
  return { target, open, close };
}
