import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";

import { exportFeedback, feedbackQuery } from "../../api/feedback";
import { messageOf } from "../../api/message";
import type { Rating } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { formatCount, formatDay } from "../../ui/format";
import { Nothing, Row, Rows } from "../../ui/rows";
import { saveFile } from "../../ui/save-file";
import { Alert, Panel } from "../../ui/section-page";
import { ShowMore } from "../../ui/show-more";
import styles from "./settings.module.css";

const RATINGS = [
  ["up", "Good answers"],
  ["down", "Bad answers"],
] as const;

/** The answers that the user has rated, as a set of questions to measure changes by. */
export function EvaluationSection() {
  const [shown, setShown] = useState<Rating>("up");
  return (
    <>
      <ExportPanel />
      <Panel title="Rated answers" about="Rate answers with the thumbs below them: each is a question of the set.">
        <div className={styles.choice} role="group" aria-label="Which answers">
          {RATINGS.map(([rating, label]) => (
            <Choice key={rating} rating={rating} label={label} pressed={rating === shown} onPress={setShown} />
          ))}
        </div>
        <Rated rating={shown} />
      </Panel>
    </>
  );
}

function ExportPanel() {
  const { attempt, problem, busy } = useAttempt();
  const download = async () => {
    saveFile(await exportFeedback(null), "questions.jsonl");
    announce("The question set is downloaded.");
  };
  return (
    <Panel
      title="Question set"
      about={
        <>
          Your rated answers as JSON lines. On the server, <code>lorestream evaluate questions.jsonl</code> measures how
          well these questions are answered, before and after a change.
        </>
      }
    >
      <Alert>{problem}</Alert>
      <div>
        <Button icon="save" disabled={busy} onClick={() => attempt(download)} data-testid="export-feedback">
          Download the question set
        </Button>
      </div>
    </Panel>
  );
}

interface ChoiceProps {
  rating: Rating;
  label: string;
  pressed: boolean;
  onPress: (rating: Rating) => void;
}

function Choice({ rating, label, pressed, onPress }: ChoiceProps) {
  const { data, hasNextPage } = useInfiniteQuery(feedbackQuery(rating));
  return (
    <Button
      icon={`thumb-${rating}`}
      aria-pressed={pressed}
      onClick={() => onPress(rating)}
      data-testid={`rated-${rating}`}
    >
      {label}
      {data && ` ${formatCount(data.length)}${hasNextPage ? "+" : ""}`}
    </Button>
  );
}

function Rated({ rating }: { rating: Rating }) {
  const { data, error, ...rest } = useInfiniteQuery(feedbackQuery(rating));
  return (
    <>
      <Alert>{error && messageOf(error)}</Alert>
      {data?.length === 0 && <Nothing>None yet.</Nothing>}
      <Rows label={rating === "up" ? "Good answers" : "Bad answers"}>
        {data?.map((item) => (
          <Row
            key={item.message_id}
            icon={`thumb-${rating}`}
            title={item.conversation_id ? <a href={`/c/${item.conversation_id}`}>{item.question}</a> : item.question}
            data-testid="rated-answer"
          >
            <p className={styles.excerpt}>{item.answer}</p>
            {item.comment && <p>“{item.comment}”</p>}
            <p>{formatDay(item.created_at)}</p>
          </Row>
        ))}
      </Rows>
      <ShowMore {...rest} />
    </>
  );
}
