import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";

import { eventsQuery } from "../../api/admin";
import { messageOf } from "../../api/message";
import { Button } from "../../ui/button";
import { Select } from "../../ui/field";
import { formatTime } from "../../ui/format";
import { Nothing, Row, Rows } from "../../ui/rows";
import { Alert, Panel } from "../../ui/section-page";
import { ShowMore } from "../../ui/show-more";
import styles from "./administration.module.css";
import { KINDS, sentenceOf } from "./events";

const FILTER: readonly (readonly [string, string])[] = [
  ["", "Everything"],
  ...Object.entries(KINDS)
    .map(([kind, { label }]) => [kind, label] as const)
    .sort(([, a], [, b]) => a.localeCompare(b)),
];

interface Props {
  /** Only what concerns this user; empty for all. */
  userId: string;
  onShowAll: () => void;
}

export function EventsSection({ userId, onShowAll }: Props) {
  const [kind, setKind] = useState("");
  const {
    data = [],
    error,
    isPending,
    hasNextPage,
    isFetching,
    fetchNextPage,
  } = useInfiniteQuery(eventsQuery(kind, userId));
  const first = data.find((event) => event.user_id === userId);
  const of = userId && (first ? (first.email ?? "a deleted account") : "this account");
  return (
    <Panel title={of ? `What concerns ${of}` : "What happened"} about="Who did what to whose account, and from where.">
      <div className={styles.filter}>
        <Select
          label="Show"
          options={FILTER}
          value={kind}
          onChange={(event) => setKind(event.currentTarget.value)}
          data-testid="event-kind"
        />
        {userId && <Button onClick={onShowAll}>Show all accounts</Button>}
      </div>
      <Alert>{error && messageOf(error)}</Alert>
      {!isPending && !error && data.length === 0 && <Nothing>Nothing of that kind.</Nothing>}
      <Rows label="Events">
        {data.map((event) => (
          <Row key={event.event_id} icon={KINDS[event.kind].icon} title={sentenceOf(event)} data-testid="event-row">
            {formatTime(event.at)}
            {event.ip && ` · from ${event.ip}`}
          </Row>
        ))}
      </Rows>
      <ShowMore hasNextPage={hasNextPage} isFetching={isFetching} fetchNextPage={fetchNextPage} />
    </Panel>
  );
}
