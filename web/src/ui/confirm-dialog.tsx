import type { ReactNode } from "react";

import { Button } from "./button";
import { Dialog, DialogButtons } from "./dialog";

interface Props {
  title: string;
  children: ReactNode;
  confirmLabel: string;
  /** The safe way out. */
  keepLabel?: string;
  onConfirm: () => void;
  onClose: () => void;
}

/** Asks before something that is not easily undone; Escape and the first button are the safe way out. */
export function ConfirmDialog({ title, children, confirmLabel, keepLabel = "Keep", onConfirm, onClose }: Props) {
  const confirm = () => {
    onConfirm();
    onClose();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <p>{children}</p>
      <DialogButtons>
        <Button onClick={onClose}>{keepLabel}</Button>
        <Button kind="danger" data-testid="confirm" onClick={confirm}>
          {confirmLabel}
        </Button>
      </DialogButtons>
    </Dialog>
  );
}
