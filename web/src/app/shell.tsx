import { lazy, Suspense, useRef, useSyncExternalStore } from "react";

import type { Collection, Document, Hit, Source } from "../api/types";
import { AccountBar } from "../features/account/account-bar";
import { Chat } from "../features/chat/chat";
import type { ChatSession } from "../features/chat/chat-session";
import type { Drafts } from "../features/chat/drafts";
import type { Scope } from "../features/chat/use-scope";
import { Conversations } from "../features/conversations/conversations";
import type { Chosen } from "../features/documents/chosen";
import { DropOverlay } from "../features/documents/drop-overlay";
import { FileInputs, type Chooser } from "../features/documents/file-inputs";
import { Shelf } from "../features/documents/shelf";
import type { Intake } from "../features/documents/use-intake";
import { IconButton } from "../ui/button";
import { Logo } from "../ui/logo";
import { SearchBox } from "./search-box";
import styles from "./shell.module.css";
import { goTo, goToPage, setDrawer, setQuery, type Place } from "./use-path";
import { useViewer } from "./use-viewer";

const LibraryPage = lazy(() =>
  import("../features/documents/library-page").then((module) => ({ default: module.LibraryPage })),
);
const SearchPage = lazy(() =>
  import("../features/search/search-page").then((module) => ({ default: module.SearchPage })),
);
const Viewer = lazy(() => import("../features/documents/viewer").then((module) => ({ default: module.Viewer })));

interface Props {
  place: Place;
  session: ChatSession;
  drafts: Drafts;
  scope: Scope;
  intake: Intake;
}

/** Conversations and documents beside the open conversation, library or search, and the viewer; on a phone one over the other. */
export function Shell({ place: { page, query, conversationId, drawerOpen }, session, drafts, scope, intake }: Props) {
  const { busy } = useSyncExternalStore(session.subscribe, session.getLive);
  const inputs = useRef<Chooser>(null);
  const { target, open, close } = useViewer();
  const choose: Chooser = { files: () => inputs.current?.files(), folder: () => inputs.current?.folder() };
  const collectionId = page === "library" ? (query.get("collection") ?? "") : "";
  const add = (chosen: Chosen) => intake.uploads.add(chosen, collectionId || null);

  const openDocument = ({ doc_id: docId, title }: Document) => {
    if (drawerOpen) setDrawer(false);
    open({ docId, title, page: null, passage: null, label: "" });
  };
  const openSource = ({ doc_id: docId, title, page, start, end, n }: Source) =>
    open({ docId, title, page, passage: { start, end }, label: `Source ${n}` });
  const openHit = ({ doc_id: docId, title, page, start, end, heading }: Hit) =>
    open({ docId, title, page, passage: { start, end }, label: heading || "Passage" });
  const openConversation = (id: string | null) => {
    goTo(id);
    if (id === null) focusQuestion();
  };
  const askOnly = (documents: readonly Document[]) => {
    goTo(conversationId);
    scope.addDocuments(documents.map(({ doc_id: id }) => id));
    focusQuestion();
  };
  const askCollection = ({ collection_id: id }: Collection) => {
    goTo(conversationId);
    scope.setCollection(id);
    focusQuestion();
  };
  const showLimits = () => goToPage("settings", { section: "usage" });

  return (
    <div className={styles.shell} data-drawer={drawerOpen} data-reader={target !== null}>
      <a className={styles.skip} href={page === "chat" ? "#question" : "#main"}>
        {page === "chat" ? "Skip to the question" : "Skip to the page"}
      </a>
      <header className={styles.topbar}>
        <IconButton
          icon={drawerOpen ? "close" : "menu"}
          label={drawerOpen ? "Close conversations and library" : "Open conversations and library"}
          aria-expanded={drawerOpen}
          onClick={() => setDrawer(!drawerOpen)}
          data-testid="open-library"
        />
        <Logo />
        <IconButton icon="search" label="Search your documents" onClick={() => goToPage("search")} />
      </header>
      <nav className={styles.sidebar} aria-label="Conversations, library and account">
        <div className={styles.brand}>
          <Logo />
        </div>
        <SearchBox onSearch={(q) => goToPage("search", { query: { q } })} />
        <Conversations currentId={page === "chat" ? conversationId : null} busy={busy} onOpen={openConversation} />
        {page !== "library" && (
          <div className={styles.library}>
            <Shelf
              intake={intake}
              choose={choose}
              open={openDocument}
              askOnly={(document) => askOnly([document])}
              onShowAll={() => goToPage("library")}
              onShowLimits={showLimits}
            />
          </div>
        )}
        <AccountBar onOpen={goToPage} />
      </nav>
      <main id="main" tabIndex={-1} className={styles.main} aria-label={LABELS[page]}>
        <Suspense fallback={null}>
          {page === "library" ? (
            <LibraryPage
              intake={intake}
              choose={choose}
              collectionId={collectionId}
              onGoCollection={(collection) => goToPage("library", { query: { collection } })}
              open={openDocument}
              onAsk={askOnly}
              onAskCollection={askCollection}
              onSearchCollection={({ collection_id: collection }) => goToPage("search", { query: { collection } })}
              onShowLimits={showLimits}
            />
          ) : page === "search" ? (
            <SearchPage query={query} onChange={(changed) => setQuery("search", changed)} onOpen={openHit} />
          ) : (
            <Chat
              session={session}
              conversationId={conversationId}
              drafts={drafts}
              scope={scope}
              onCreated={goTo}
              onOpenSource={openSource}
              onChooseFiles={choose.files}
              escapeStops={target === null}
            />
          )}
        </Suspense>
      </main>
      <Suspense fallback={null}>{target && <Viewer target={target} onClose={close} />}</Suspense>
      <FileInputs ref={inputs} onChosen={add} />
      <DropOverlay target={collectionId ? "this collection" : "your library"} onChosen={add} />
    </div>
  );
}

/** It may only come with the page that is being opened. */
const focusQuestion = (): void =>
  void requestAnimationFrame(() => document.getElementById("question")?.focus({ preventScroll: true }));

const LABELS: Partial<Record<Place["page"], string>> = {
  chat: "Questions and answers",
  library: "Library",
  search: "Search",
};
