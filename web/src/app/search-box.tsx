import { useState, type SubmitEvent } from "react";

import { MAX_SEARCH_CHARS } from "../api/search";
import { SearchField } from "../ui/search-field";
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
      <SearchField
        label="Search your documents"
        words={words}
        maxLength={MAX_SEARCH_CHARS}
        onChange={setWords}
        data-testid="search-box"
      />
    </form>
  );
}
