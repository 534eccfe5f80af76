import { useCallback, useEffect, useRef, useState } from "react";

import type { Document, Source } from "../api/types";
import { AccountBar } from "../features/account/account-bar";
import { Chat } from "../features/chat/chat";
import type { Scope } from "../features/chat/exchange";
import { forgetRuns } from "../features/chat/remembered-runs";
import { DocumentReader, type ReaderTarget } from "../features/documents/document-reader";
import { DropOverlay } from "../features/documents/drop-overlay";
import { FileInput } from "../features/documents/file-input";
import { Library } from "../features/documents/library";
import { useUploadQueue } from "../features/documents/use-upload-queue";
import { IconButton } from "../ui/button";
import { Logo } from "../ui/logo";
import styles from "./shell.module.css";
import { goTo, usePath } from "./use-path";

/** The logged-in page: library, conversation and reader side by side; on a phone one over the other. */
export function Shell() {
  const libraryOpen = usePath() === "/library";
  const uploads = useUploadQueue();
  const fileInput = useRef<HTMLInputElement>(null);
  const [scope, setScope] = useState<Scope | null>(null);
  const { target, open, close } = useReader();

  const chooseFiles = () => fileInput.current?.click();
  const openDocument = ({ doc_id: docId, title }: Document) => {
    goTo("/");
    open({ docId, title, page: null, passage: null, citation: null });
  };
  const openSource = ({ doc_id: docId, title, page, start, end, n }: Source) =>
    open({ docId, title, page, passage: { start, end }, citation: n });
  const askOnly = ({ doc_id: docId, title }: Document) => {
    goTo("/");
    setScope({ docId, title });
    document.getElementById("question")?.focus();
  };

  return (
    <div className={styles.shell} data-library={libraryOpen} data-reader={target !== null}>
      <a className={styles.skip} href="#question">
        Skip to the question
      </a>
      <header className={styles.topbar}>
        <IconButton
          icon="library"
          label={libraryOpen ? "Close the library" : "Open the library"}
          aria-expanded={libraryOpen}
          onClick={() => goTo(libraryOpen ? "/" : "/library")}
          data-testid="open-library"
        />
        <Logo />
      </header>
      <nav className={styles.sidebar} aria-label="Library and account">
        <div className={styles.brand}>
          <Logo />
        </div>
        <div className={styles.library}>
          <Library uploads={uploads} onChooseFiles={chooseFiles} onOpen={openDocument} onAskOnly={askOnly} />
        </div>
        <AccountBar onLogOut={forgetRuns} />
      </nav>
      <main className={styles.main} aria-label="Questions and answers">
        <Chat
          scope={scope}
          onScopeChange={setScope}
          onOpenSource={openSource}
          onChooseFiles={chooseFiles}
          escapeStops={target === null}
        />
      </main>
      {target && <DocumentReader target={target} onClose={close} />}
      <FileInput ref={fileInput} onFiles={uploads.add} />
      <DropOverlay onFiles={uploads.add} />
    </div>
  );
}

/** What the reader shows; closing it gives the focus back to where it was opened from. */
function useReader() {
  const [target, setTarget] = useState<ReaderTarget | null>(null);
  const opener = useRef<Element | null>(null);
  const open = (next: ReaderTarget) => {
    // From one passage to the next, the way back stays where the first was opened.
    if (!target) opener.current = document.activeElement;
    setTarget(next);
  };
  const close = useCallback(() => setTarget(null), []);
  const isOpen = target !== null;
  useEffect(() => {
    if (!isOpen) return;
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open]")) close();
    };
    addEventListener("keydown", onKey);
    return () => {
      removeEventListener("keydown", onKey);
      if (opener.current instanceof HTMLElement) opener.current.focus();
    };
  }, [isOpen, close]);
  return { target, open, close };
}
