import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";

import type { Document, Source } from "../api/types";
import { AccountBar } from "../features/account/account-bar";
import { Chat } from "../features/chat/chat";
import type { ChatSession } from "../features/chat/chat-session";
import type { Drafts } from "../features/chat/drafts";
import type { Scope } from "../features/chat/use-scope";
import { Conversations } from "../features/conversations/conversations";
import { DocumentReader, type ReaderTarget } from "../features/documents/document-reader";
import { DropOverlay } from "../features/documents/drop-overlay";
import { FileInput } from "../features/documents/file-input";
import { Library } from "../features/documents/library";
import type { UploadQueue } from "../features/documents/upload-queue";
import { IconButton } from "../ui/button";
import { Logo } from "../ui/logo";
import styles from "./shell.module.css";
import { goTo, goToPage, type Place } from "./use-path";

interface Props {
  place: Place;
  session: ChatSession;
  drafts: Drafts;
  scope: Scope;
  uploads: UploadQueue;
}

/** The page of questions: conversations and library, the open conversation, the reader; on a phone one over the other. */
export function Shell({ place: { conversationId, drawerOpen }, session, drafts, scope, uploads }: Props) {
  const { busy } = useSyncExternalStore(session.subscribe, session.getLive);
  const fileInput = useRef<HTMLInputElement>(null);
  const { target, open, close } = useReader();

  const chooseFiles = () => fileInput.current?.click();
  const closeDrawer = () => goTo(conversationId);
  const openDocument = ({ doc_id: docId, title }: Document) => {
    closeDrawer();
    open({ docId, title, page: null, passage: null, citation: null });
  };
  const openSource = ({ doc_id: docId, title, page, start, end, n }: Source) =>
    open({ docId, title, page, passage: { start, end }, citation: n });
  const openConversation = (id: string | null) => {
    goTo(id);
    if (id === null) document.getElementById("question")?.focus();
  };
  const askOnly = ({ doc_id: docId }: Document) => {
    closeDrawer();
    scope.add(docId);
    document.getElementById("question")?.focus();
  };

  return (
    <div className={styles.shell} data-drawer={drawerOpen} data-reader={target !== null}>
      <a className={styles.skip} href="#question">
        Skip to the question
      </a>
      <header className={styles.topbar}>
        <IconButton
          icon={drawerOpen ? "close" : "menu"}
          label={drawerOpen ? "Close conversations and library" : "Open conversations and library"}
          aria-expanded={drawerOpen}
          onClick={() => goTo(conversationId, { drawer: !drawerOpen })}
          data-testid="open-library"
        />
        <Logo />
      </header>
      <nav className={styles.sidebar} aria-label="Conversations, library and account">
        <div className={styles.brand}>
          <Logo />
        </div>
        <Conversations currentId={conversationId} busy={busy} onOpen={openConversation} />
        <div className={styles.library}>
          <Library
            uploads={uploads}
            onChooseFiles={chooseFiles}
            onOpen={openDocument}
            onAskOnly={askOnly}
            onShowLimits={() => goToPage("settings", "usage")}
          />
        </div>
        <AccountBar onOpen={goToPage} />
      </nav>
      <main className={styles.main} aria-label="Questions and answers">
        <Chat
          session={session}
          conversationId={conversationId}
          drafts={drafts}
          scope={scope}
          onCreated={goTo}
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
      if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open], :popover-open"))
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
