import { useState, type SubmitEvent } from "react";

import { MAX_SEARCH_CHARS } from "../api/search";
import { Icon } from "../ui/icon";
import styles from "./search-box.module.css";

/** Searches the documents, on a page of its own. */
export function SearchBox({ onSearch }: { onSearch: (q: string) => void }) {
  const [words, setWords] = useState("");
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    onSearch(words.trim());
    setWords("");
  };
  return (
    <form role="search" className={styles.box} onSubmit={submit}>
      <Icon name="search" size={16} />
      <input
        type="search"
        value={words}
        maxLength={MAX_SEARCH_CHARS}
        aria-label="Search your documents"
        placeholder="Search your documents"
        onChange={(event) => setWords(event.currentTarget.value)}
        data-testid="search-box"
      />
    </form>
  );
}
