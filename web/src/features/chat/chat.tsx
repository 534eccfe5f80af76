import { useEffect, useRef, useState, useSyncExternalStore } from "react";

import type { Source } from "../../api/types";
import { ChatSession } from "./chat-session";
import styles from "./chat.module.css";
import { Composer } from "./composer";
import type { Scope } from "./exchange";
import { ExchangeView } from "./exchange-view";
import { runLink } from "./run-link";
import { useEscape } from "./use-escape";
import { useRunning } from "./use-running";
import { useStickToEnd } from "./use-stick-to-end";
import { Welcome } from "./welcome";

interface Props {
  scope: Scope | null;
  onScopeChange: (scope: Scope | null) => void;
  onOpenSource: (source: Source) => void;
  onChooseFiles: () => void;
  /** Escape stops the running answer, unless something else on the page takes it first. */
  escapeStops: boolean;
}

export function Chat({ scope, onScopeChange, onOpenSource, onChooseFiles, escapeStops }: Props) {
  const [session] = useState(() => new ChatSession(runLink));
  const exchanges = useSyncExternalStore(session.subscribe, session.getExchanges);
  const [draft, setDraft] = useState("");
  const question = useRef<HTMLTextAreaElement>(null);
  const running = useRunning(exchanges.at(-1));
  const { scrollRef, contentRef, atEnd, toEnd } = useStickToEnd();

  useEffect(() => {
    void session.open();
    return () => session.close();
  }, [session]);
  useEscape(escapeStops && running ? () => running.stop() : null);

  const ask = (text: string, within: Scope | null) => {
    session.ask(text, within);
    toEnd();
  };
  const suggest = (text: string) => {
    setDraft(text);
    question.current?.focus();
  };

  return (
    <div className={styles.chat}>
      <div className={styles.scroll} ref={scrollRef}>
        <div className={styles.content} ref={contentRef}>
          {exchanges.length === 0 && <Welcome onSuggest={suggest} onChooseFiles={onChooseFiles} />}
          {exchanges.map((exchange, index) => (
            <ExchangeView
              key={exchange.key}
              exchange={exchange}
              last={index === exchanges.length - 1}
              busy={running !== null}
              onOpenSource={onOpenSource}
              onAskAgain={ask}
            />
          ))}
        </div>
      </div>
      <Composer
        ref={question}
        draft={draft}
        onDraftChange={setDraft}
        scope={scope}
        onScopeChange={onScopeChange}
        running={running}
        onAsk={(text) => ask(text, scope)}
        onJumpToEnd={atEnd ? null : toEnd}
      />
    </div>
  );
}
