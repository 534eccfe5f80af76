import { useInfiniteQuery } from "@tanstack/react-query";

import { documentsQuery } from "../../api/documents";
import { FORMATS } from "../../api/formats";
import type { Document } from "../../api/types";
import { Button } from "../../ui/button";
import styles from "./welcome.module.css";

interface Props {
  onSuggest: (question: string) => void;
  onChooseFiles: () => void;
}

/** What to do first: add documents, then ask. */
export function Welcome({ onSuggest, onChooseFiles }: Props) {
  const { data: documents, isPending } = useInfiniteQuery(documentsQuery());
  if (isPending) return null;
  const ready = documents?.filter((document) => document.status === "ready") ?? [];
  return (
    <div className={styles.welcome}>
      {ready.length > 0 ? (
        <Ready documents={ready} onSuggest={onSuggest} />
      ) : (
        <Empty waiting={(documents?.length ?? 0) > 0} onChooseFiles={onChooseFiles} />
      )}
    </div>
  );
}

function Empty({ waiting, onChooseFiles }: { waiting: boolean; onChooseFiles: () => void }) {
  if (waiting) {
    return (
      <>
        <h1>Getting your documents ready.</h1>
        <p>You can ask as soon as the first one has been read.</p>
      </>
    );
  }
  return (
    <>
      <h1>What do you want to know?</h1>
      <p>Add a few documents, then ask about them. Every answer shows its sources, down to the passage.</p>
      <button type="button" className={styles.drop} onClick={onChooseFiles} data-testid="welcome-add">
        <strong>Drop files or folders anywhere, or choose them</strong>
        <span>{FORMATS}</span>
      </button>
    </>
  );
}

function Ready({ documents, onSuggest }: { documents: Document[]; onSuggest: (question: string) => void }) {
  return (
    <>
      <h1>What do you want to know?</h1>
      <p>Ask in your own words. For example:</p>
      <ul className={styles.suggestions}>
        {suggestions(documents).map((question) => (
          <li key={question}>
            <Button onClick={() => onSuggest(question)} data-testid="suggestion">
              {question}
            </Button>
          </li>
        ))}
      </ul>
    </>
  );
}

/** A title may be long. */
const MAX_TITLE_CHARS = 80;

function suggestions(documents: Document[]): string[] {
  const [first, second] = documents.map(({ title }) => `“${Array.from(title).slice(0, MAX_TITLE_CHARS).join("")}”`);
  return [
    `What is ${first ?? "this"} about?`,
    second ? `What are the main points of ${second}?` : `What are the main conclusions of ${first ?? "this"}?`,
    "Which numbers and dates matter most?",
  ];
}
