import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { changeUser, deleteUser, refreshUsers, resetPassword, usersQuery } from "../../api/admin";
import { messageOf } from "../../api/message";
import type { UserView } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { ConfirmDialog } from "../../ui/confirm-dialog";
import { Nothing, Rows } from "../../ui/rows";
import { SearchField } from "../../ui/search-field";
import { Secret } from "../../ui/secret";
import { Alert, Panel } from "../../ui/section-page";
import { ShowMore } from "../../ui/show-more";
import { useDebounced } from "../../ui/use-debounced";
import { AddUser, type Added } from "./add-user";
import { LimitsDialog } from "./limits-dialog";
import { UserRow, type Doing } from "./user-row";

const SEARCH_PAUSE_MS = 250;

/** What is asked before it is done: a title, what it means, and the word for it. */
const QUESTIONS: Record<Exclude<Doing, "limits" | "enable">, (email: string) => readonly [string, string, string]> = {
  disable: (email) => [
    "Disable this account?",
    `${email} is logged out everywhere within seconds, and cannot log in until you enable the account again. Nothing is deleted.`,
    "Disable",
  ],
  promote: (email) => [
    "Make an administrator?",
    `${email} will see all accounts and this log, and can change and delete them. Documents and conversations stay private.`,
    "Make administrator",
  ],
  demote: (email) => ["Make a member?", `${email} will no longer see the administration.`, "Make member"],
  reset: (email) => [
    "Reset the password?",
    `A new one is made up for ${email} and shown to you once. Every login and every API key of theirs ends.`,
    "Reset password",
  ],
  delete: (email) => [
    "Delete this account?",
    `${email} with all their documents, conversations and keys will be gone for good.`,
    "Delete",
  ],
};

interface Props {
  /** Of whoever looks at it. */
  ownId: string;
  onShowEvents: (userId: string) => void;
}

export function UsersSection({ ownId, onShowEvents }: Props) {
  const [words, setWords] = useState("");
  const q = useDebounced(words.trim(), SEARCH_PAUSE_MS);
  const {
    data: users = [],
    error,
    isPending,
    hasNextPage,
    isFetching,
    fetchNextPage,
  } = useInfiniteQuery(usersQuery(q));
  const [told, setTold] = useState<Added | null>(null);
  const [asked, setAsked] = useState<{ user: UserView; doing: Doing } | null>(null);
  const { attempt, problem } = useAttempt();
  const client = useQueryClient();

  const act = async (user: UserView, doing: Doing) => {
    if (doing === "reset") setTold({ email: user.email, ...(await resetPassword(user.user_id)) });
    else if (doing === "delete") await deleteUser(user.user_id);
    else await changeUser(user.user_id, CHANGES[doing as keyof typeof CHANGES]);
    announce("Done.");
    await refreshUsers(client);
  };
  const start = (user: UserView, doing: Doing) => {
    if (doing === "enable") attempt(() => act(user, doing));
    else setAsked({ user, doing });
  };
  return (
    <>
      <Panel title="Add somebody" about="They get a password from you, and change it in their settings.">
        <div>
          {told ? (
            <Secret value={told.password} onClose={() => setTold(null)}>
              The password of {told.email}. Hand it over now: it is not shown again.
            </Secret>
          ) : (
            <AddUser onAdded={setTold} />
          )}
        </div>
      </Panel>
      <Panel title="Accounts">
        <div>
          <SearchField label="Search accounts" words={words} onChange={setWords} data-testid="user-search" />
        </div>
        <Alert>{problem ?? (error && messageOf(error))}</Alert>
        {!isPending && !error && users.length === 0 && <Nothing>Nobody found.</Nothing>}
        <Rows label="Accounts">
          {users.map((user) => (
            <UserRow
              key={user.user_id}
              user={user}
              own={user.user_id === ownId}
              onDo={(doing) => start(user, doing)}
              onShowEvents={() => onShowEvents(user.user_id)}
            />
          ))}
        </Rows>
        <ShowMore hasNextPage={hasNextPage} isFetching={isFetching} fetchNextPage={fetchNextPage} />
      </Panel>
      {asked?.doing === "limits" && <LimitsDialog user={asked.user} onClose={() => setAsked(null)} />}
      {asked && asked.doing !== "limits" && asked.doing !== "enable" && (
        <Asking
          words={QUESTIONS[asked.doing](asked.user.email)}
          onConfirm={() => attempt(() => act(asked.user, asked.doing))}
          onClose={() => setAsked(null)}
        />
      )}
    </>
  );
}

const CHANGES = {
  disable: { disabled: true },
  enable: { disabled: false },
  promote: { is_admin: true },
  demote: { is_admin: false },
} as const;

interface AskingProps {
  words: readonly [string, string, string];
  onConfirm: () => void;
  onClose: () => void;
}

function Asking({ words: [title, meaning, confirm], onConfirm, onClose }: AskingProps) {
  return (
    <ConfirmDialog title={title} confirmLabel={confirm} keepLabel="Cancel" onConfirm={onConfirm} onClose={onClose}>
      {meaning}
    </ConfirmDialog>
  );
}
