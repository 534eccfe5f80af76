import { useInfiniteQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";

import { eventsQuery, usersQuery } from "../../api/admin";
import { messageOf } from "../../api/problem";
import { Button } from "../../ui/button";
import { Select } from "../../ui/field";
import { formatTime } from "../../ui/format";
import { Nothing, Row, Rows } from "../../ui/rows";
import { Alert, Panel } from "../../ui/section-page";
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
  const emailOf = useEmails();
  const of = userId && (emailOf(userId) ?? "a deleted account");
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
          <Row
            key={event.event_id}
            icon={KINDS[event.kind].icon}
            title={sentenceOf(event, emailOf)}
            data-testid="event-row"
          >
            {formatTime(event.at)}
            {event.ip && ` · from ${event.ip}`}
          </Row>
        ))}
      </Rows>
      {hasNextPage && (
        <div>
          <Button disabled={isFetching} onClick={() => void fetchNextPage()}>
            Show more
          </Button>
        </div>
      )}
    </Panel>
  );
}

/** The log holds ids alone, because it outlives the accounts: the emails are those of the accounts that there are. */
function useEmails(): (userId: string) => string | null {
  const { data = [], hasNextPage, isFetching, fetchNextPage } = useInfiniteQuery(usersQuery());
  useEffect(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  return (userId) => data.find((user) => user.user_id === userId)?.email ?? null;
}
