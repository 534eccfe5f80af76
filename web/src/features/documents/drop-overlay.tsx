import { useEffect, useState } from "react";

import { Icon } from "../../ui/icon";
import styles from "./drop-overlay.module.css";

const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;

/** Takes files dropped anywhere on the page, and shows that it would. */
export function DropOverlay({ onFiles }: { onFiles: (files: Iterable<File>) => void }) {
  const [dragging, setDragging] = useState(false);
  useEffect(() => {
    const over = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setDragging(true);
    };
    const leave = (event: DragEvent) => {
      // Null: the pointer left the window, not just one element for another.
      if (event.relatedTarget === null) setDragging(false);
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setDragging(false);
      onFiles(event.dataTransfer?.files ?? []);
    };
    const listeners = new AbortController();
    const { signal } = listeners;
    addEventListener("dragover", over, { signal });
    addEventListener("dragleave", leave, { signal });
    addEventListener("drop", drop, { signal });
    return () => listeners.abort();
  }, [onFiles]);
  if (!dragging) return null;
  return (
    <div className={styles.overlay} aria-hidden="true">
      <div className={styles.frame}>
        <Icon name="file" size={36} />
        Drop to add to your library
      </div>
    </div>
  );
}
