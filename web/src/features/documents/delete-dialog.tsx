import type { Document } from "../../api/types";
import { ConfirmDialog } from "../../ui/confirm-dialog";

interface Props {
  documents: readonly Document[];
  onConfirm: () => void;
  onClose: () => void;
}

/** Asks before documents are deleted. */
export function DeleteDialog({ documents, onConfirm, onClose }: Props) {
  const [first] = documents;
  if (!first) return null;
  const many = documents.length > 1;
  return (
    <ConfirmDialog
      title={many ? `Delete ${documents.length} documents?` : "Delete this document?"}
      confirmLabel="Delete"
      onConfirm={onConfirm}
      onClose={onClose}
    >
      {many ? "They" : `“${first.title}”`} and everything indexed from {many ? "them" : "it"} will be gone. Answers that
      cite {many ? "them" : "it"} stay, their passages do not.
    </ConfirmDialog>
  );
}
