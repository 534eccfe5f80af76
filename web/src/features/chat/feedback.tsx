import { useQueryClient } from "@tanstack/react-query";
import { useState, type SubmitEvent } from "react";

import { rateAnswer } from "../../api/conversations";
import { messageOf } from "../../api/message";
import type { Message, Rating } from "../../api/types";
import { announce } from "../../ui/announcer";
import { Button, IconButton } from "../../ui/button";
import styles from "./feedback.module.css";

const MAX_COMMENT_CHARS = 2000;
const LABELS: Record<Rating, string> = { up: "Good answer", down: "Bad answer" };

/** Thumbs, kept with the answer; the comment after them is optional. */
export function useFeedback(conversationId: string, answer: Message) {
  const client = useQueryClient();
  const [commenting, setCommenting] = useState(false);
  const { feedback } = answer;
  const rate = (rating: Rating | null, comment: string | null) =>
    rateAnswer(client, conversationId, answer.message_id, rating, comment).catch((error: unknown) =>
      announce(messageOf(error)),
    );
  const press = (rating: Rating) => {
    const next = feedback?.rating === rating ? null : rating;
    setCommenting(next !== null);
    void rate(next, null);
  };
  const comment = (text: string) => {
    setCommenting(false);
    if (feedback && text !== "") void rate(feedback.rating, text).then(() => announce("Thank you."));
  };
  return { pressed: feedback?.rating ?? null, commenting, press, comment };
}

type Feedback = ReturnType<typeof useFeedback>;

export function Thumbs({ pressed, press }: Pick<Feedback, "pressed" | "press">) {
  return (["up", "down"] as const).map((rating) => (
    <IconButton
      key={rating}
      icon={`thumb-${rating}`}
      label={LABELS[rating]}
      aria-pressed={pressed === rating}
      onClick={() => press(rating)}
      data-testid={`thumb-${rating}`}
    />
  ));
}

export function CommentForm({ pressed, comment }: Pick<Feedback, "pressed" | "comment">) {
  const [text, setText] = useState("");
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    comment(text.trim());
  };
  return (
    <form className={styles.comment} onSubmit={onSubmit}>
      <input
        value={text}
        maxLength={MAX_COMMENT_CHARS}
        aria-label="Comment on this answer"
        placeholder={pressed === "up" ? "What was good? (optional)" : "What was wrong? (optional)"}
        onChange={(event) => setText(event.currentTarget.value)}
        data-testid="feedback-comment"
      />
      <Button type="submit" data-testid="feedback-save">
        {text.trim() === "" ? "Skip" : "Save"}
      </Button>
    </form>
  );
}
