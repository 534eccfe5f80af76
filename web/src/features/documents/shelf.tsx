import { FORMATS } from "../../api/formats";
import { IconButton } from "../../ui/button";
import { AddMenu } from "./add-menu";
import { DeleteDialog } from "./delete-dialog";
import { DocumentRow, type DocumentActions } from "./document-row";
import type { Chooser } from "./file-inputs";
import { IntakeList } from "./intake-list";
import styles from "./shelf.module.css";
import { useDocuments } from "./use-documents";
import type { Intake } from "./use-intake";

/** The rest is in the library. */
const SHOWN = 20;

interface Props extends Pick<DocumentActions, "open" | "askOnly"> {
  intake: Intake;
  choose: Chooser;
  onShowAll: () => void;
  onShowLimits: () => void;
}

/** The newest documents of the user beside the conversations, with those on their way on top. */
export function Shelf({ intake, choose, open, askOnly, onShowAll, onShowLimits }: Props) {
  const list = useDocuments(intake.watch, undefined, { open, askOnly });
  const { documents, isPending, problem, hasNextPage, doomed } = list;
  return (
    <section className={styles.library} aria-labelledby="shelf-title">
      <div className={styles.head}>
        <h2 id="shelf-title">
          <a
            href="/library"
            onClick={(event) => {
              event.preventDefault();
              onShowAll();
            }}
            data-testid="open-library-page"
          >
            Library
          </a>
        </h2>
        <IconButton icon="library" label="Open the library" onClick={onShowAll} />
      </div>
      <AddMenu choose={choose} />
      <p role="alert" className={styles.problem}>
        {problem}
      </p>
      <IntakeList intake={intake} onShowLimits={onShowLimits} />
      {!isPending && !problem && documents.length === 0 && (
        <p className={styles.empty}>Nothing here yet. Drop files or folders anywhere: {FORMATS}.</p>
      )}
      <ul className={styles.list}>
        {documents.slice(0, SHOWN).map((document) => (
          <DocumentRow key={document.doc_id} document={document} actions={list.actions} />
        ))}
      </ul>
      {(hasNextPage || documents.length > SHOWN) && (
        <button type="button" className={styles.all} onClick={onShowAll}>
          All documents
        </button>
      )}
      <DeleteDialog documents={doomed} onConfirm={list.removeDoomed} onClose={() => list.setDoomed([])} />
    </section>
  );
}
