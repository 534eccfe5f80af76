import { useEffect, useEffectEvent, useState } from "react";

import { Icon } from "../../ui/icon";
import { droppedFiles, type Chosen } from "./chosen";
import styles from "./drop-overlay.module.css";

const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;

interface Props {
  /** Where they go, in words. */
  target: string;
  onChosen: (chosen: Chosen) => void;
}

/** Takes files and folders dropped anywhere on the page, and shows that it would. */
export function DropOverlay({ target, onChosen }: Props) {
  const [dragging, setDragging] = useState(false);
  const take = useEffectEvent((items: DataTransferItemList) => void droppedFiles(items).then(onChosen));
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
      if (!hasFiles(event) || !event.dataTransfer) return;
      event.preventDefault();
      setDragging(false);
      take(event.dataTransfer.items);
    };
    const listeners = new AbortController();
    const { signal } = listeners;
    addEventListener("dragover", over, { signal });
    addEventListener("dragleave", leave, { signal });
    addEventListener("drop", drop, { signal });
    return () => listeners.abort();
  }, []);
  if (!dragging) return null;
  return (
    <div className={styles.overlay} aria-hidden="true">
      <div className={styles.frame}>
        <Icon name="file" size={36} />
        Drop to add to {target}
      </div>
    </div>
  );
}
