import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState, type KeyboardEvent } from "react";
import { LorestreamError } from "@lorestream/client";

import { documentQuery } from "../../api/documents";
import { messageOf } from "../../api/message";
import { IconButton } from "../../ui/button";
import type { Range } from "./passages";
import { PaperView } from "./paper-view";
import { TextView } from "./text-view";
import styles from "./viewer.module.css";

export interface ViewerTarget {
  docId: string;
  title: string;
  page: number | null;
  /** The passage to show, in code points of the extracted text; null opens the document at its beginning. */
  passage: Range | null;
  /** What the passage is to the reader: "Source 3"; empty without one. */
  label: string;
}

const GONE = "This document was deleted; its passages are gone with it.";
const VIEWS = [
  ["paper", "Pages"],
  ["text", "Text"],
] as const;
type View = (typeof VIEWS)[number][0];

/** A document with the passage marked and in view: a PDF as it is printed or as text, any other as text. */
export function Viewer({ target, onClose }: { target: ViewerTarget; onClose: () => void }) {
  const { data: document, error } = useQuery(documentQuery(target.docId));
  const [wanted, setWanted] = useState<View>("paper");
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), [target]);
  const onPaper = document?.media_type === "application/pdf" && document.pages !== null;
  const view = onPaper ? wanted : "text";
  const gone = error instanceof LorestreamError && error.status === 404;
  return (
    <aside className={styles.viewer} aria-labelledby="viewer-title" data-testid="reader">
      <header className={styles.head}>
        <div className={styles.titles}>
          <h2 id="viewer-title" ref={heading} tabIndex={-1}>
            {target.title}
          </h2>
          <p>{describe(target)}</p>
        </div>
        {onPaper && <Tabs view={view} onGo={setWanted} />}
        <IconButton icon="close" label="Close the document" onClick={onClose} data-testid="close-reader" />
      </header>
      {error ? (
        <p role="alert" className={styles.note} data-testid="reader-note">
          {gone ? GONE : messageOf(error)}
        </p>
      ) : !document ? (
        <p className={styles.note}>Opening…</p>
      ) : view === "paper" ? (
        <PaperView
          key={`${target.docId} ${target.passage?.start ?? ""}`}
          target={target}
          pages={document.pages ?? 1}
          onText={() => setWanted("text")}
        />
      ) : (
        <TextView target={target} />
      )}
    </aside>
  );
}

function Tabs({ view, onGo }: { view: View; onGo: (view: View) => void }) {
  const tabs = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    onGo(view === "paper" ? "text" : "paper");
    tabs.current?.querySelector<HTMLElement>('[aria-selected="false"]')?.focus();
  };
  return (
    <div ref={tabs} className={styles.tabs} role="tablist" aria-label="How to show it" onKeyDown={onKeyDown}>
      {VIEWS.map(([name, label]) => (
        <button
          key={name}
          type="button"
          role="tab"
          aria-selected={view === name}
          tabIndex={view === name ? 0 : -1}
          onClick={() => onGo(name)}
          data-testid={`view-${name}`}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

function describe({ label, page }: ViewerTarget): string {
  return [label, page === null ? "" : `page ${page}`].filter(Boolean).join(" · ");
}
