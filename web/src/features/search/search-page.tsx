import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState, type KeyboardEvent } from "react";

import { messageOf } from "../../api/message";
import { MAX_SEARCH_CHARS, searchQuery } from "../../api/search";
import type { Hit, SearchAnswer } from "../../api/types";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { Checkbox } from "../../ui/field";
import { plural } from "../../ui/format";
import { SearchField } from "../../ui/search-field";
import { useDebounced } from "../../ui/use-debounced";
import { HitView } from "./hit-view";
import styles from "./search-page.module.css";
import { settingIn, toQuery, type Setting } from "./setting";
import { SettingForm } from "./setting-form";
import { TimingsView } from "./timings-view";

const TYPING_PAUSE_MS = 300;

interface Props {
  /** From the page's address: `q` and the settings. */
  query: URLSearchParams;
  onChange: (query: Record<string, string>) => void;
  onOpen: (hit: Hit) => void;
}

/** Passages that fit some words, without an answer; a playground shows why, beside another setting. */
export function SearchPage({ query, onChange, onOpen }: Props) {
  const asked = query.get("q") ?? "";
  const [words, setWords] = useState(asked);
  // An address that came from elsewhere (the box beside it, back, a link) says what to look for.
  const [told, setTold] = useState(asked);
  if (told !== asked) {
    setTold(asked);
    if (asked !== words.trim()) setWords(asked);
  }
  const q = useDebounced(words.trim(), TYPING_PAUSE_MS);
  const first = settingIn(query);
  const second = query.has("compare") ? settingIn(query, "2") : null;
  const playing = query.has("playground");
  const page = useRef<HTMLDivElement>(null);

  const show = (change: { q?: string; first?: Setting; second?: Setting | null; playing?: boolean }) => {
    const now = { q, first, second, playing, ...change };
    onChange({
      q: now.q,
      ...toQuery(now.first),
      ...(now.second && { compare: "1", ...toQuery(now.second, "2") }),
      ...(now.playing && { playground: "1" }),
    });
  };
  useEffect(() => {
    if (q !== asked && q === words.trim()) show({ q });
    // eslint-disable-next-line react-hooks/exhaustive-deps -- only what is typed changes the address
  }, [q]);
  useEffect(() => {
    page.current?.querySelector("input")?.focus();
  }, []);
  useEffect(() => {
    document.title = q ? `${q} · Search · Lorestream` : "Search · Lorestream";
    return () => void (document.title = "Lorestream");
  }, [q]);

  return (
    <div ref={page} className={styles.page} data-testid="search-page" onKeyDown={(event) => walk(event, page.current)}>
      <div className={styles.content} data-wide={second !== null}>
        <h1>Search</h1>
        <SearchField
          label="Search your documents"
          words={words}
          maxLength={MAX_SEARCH_CHARS}
          onChange={setWords}
          data-testid="search-words"
        />
        <details
          className={styles.playground}
          open={playing}
          onToggle={({ currentTarget: { open } }) => open !== playing && show({ playing: open })}
        >
          <summary data-testid="playground">Playground</summary>
          <div className={styles.settings}>
            <SettingForm name="Search" setting={first} onChange={(next) => show({ first: next })} />
            {second && <SettingForm name="Beside it" setting={second} onChange={(next) => show({ second: next })} />}
          </div>
          <Checkbox
            label="Beside another setting"
            checked={second !== null}
            onChange={({ currentTarget: { checked } }) => show({ second: checked ? first : null })}
            data-testid="compare"
          />
        </details>
        <div className={styles.columns}>
          <Results q={q} setting={first} playing={playing} beside={second} onOpen={onOpen} />
          {second && <Results q={q} setting={second} playing={playing} beside={first} onOpen={onOpen} />}
        </div>
      </div>
    </div>
  );
}

interface ResultsProps {
  q: string;
  setting: Setting;
  playing: boolean;
  /** The setting of the other column. */
  beside: Setting | null;
  onOpen: (hit: Hit) => void;
}

const keyOf = ({ doc_id: id, chunk_index: index }: Hit): string => `${id} ${index}`;

function Results({ q, setting, playing, beside, onOpen }: ResultsProps) {
  const { data, error, isFetching, refetch } = useQuery(searchQuery({ q, ...setting }));
  const { data: other } = useQuery({
    ...searchQuery({ q, ...(beside ?? setting) }),
    enabled: q !== "" && beside !== null,
  });
  const count = data?.items.length;
  useEffect(() => {
    if (count !== undefined) announce(count === 0 ? "Nothing found." : `${plural(count, "passage")} found.`);
  }, [count, q]);
  if (q === "") return <p className={styles.note}>Find passages by meaning and by words, in all your documents.</p>;
  if (error) {
    return (
      <div role="alert" className={styles.problem}>
        <p>{messageOf(error)}</p>
        <Button icon="retry" onClick={() => void refetch()}>
          Try again
        </Button>
      </div>
    );
  }
  if (!data) return <p className={styles.note}>Searching…</p>;
  return (
    <section className={styles.results} aria-busy={isFetching} aria-label={`Passages for ${q}`}>
      {playing && <TimingsView timings={data.timings} />}
      {data.items.length === 0 && <p className={styles.note}>Nothing found.</p>}
      <ol data-testid="hits">
        {data.items.map((hit, index) => (
          <HitView
            key={keyOf(hit)}
            hit={hit}
            query={q}
            place={index + 1}
            playing={playing}
            beside={beside && other ? placeIn(other, hit) : undefined}
            onOpen={() => onOpen(hit)}
          />
        ))}
      </ol>
    </section>
  );
}

/** From 1; null where it is not among them. */
function placeIn({ items }: SearchAnswer, hit: Hit): number | null {
  const index = items.findIndex((item) => keyOf(item) === keyOf(hit));
  return index === -1 ? null : index + 1;
}

/** Arrows lead from the words to the passages, and from one to the next. */
function walk(event: KeyboardEvent, page: HTMLElement | null): void {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (by === undefined || !page || !(event.target instanceof HTMLElement)) return;
  const stops = Array.from(page.querySelectorAll<HTMLElement>('input[type="search"], [data-testid="hit"]'));
  const at = stops.indexOf(event.target);
  if (at === -1) return;
  event.preventDefault();
  stops[Math.min(Math.max(at + by, 0), stops.length - 1)]?.focus();
}
