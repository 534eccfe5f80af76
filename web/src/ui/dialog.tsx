import { useId, useLayoutEffect, useRef, type ReactNode } from "react";

import styles from "./dialog.module.css";

interface Props {
  title: string;
  children: ReactNode;
  onClose: () => void;
}

/** A question or a form that comes before everything else; Escape leaves it, and the focus goes back to where it was. */
export function Dialog({ title, children, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // Closed before it is taken out: only then does the browser give the focus back.
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      className={styles.dialog}
      onClose={(event) => event.currentTarget.open || onClose()}
      aria-labelledby={id}
    >
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

export function DialogButtons({ children }: { children: ReactNode }) {
  return <div className={styles.buttons}>{children}</div>;
}
