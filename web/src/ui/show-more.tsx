import { Button } from "./button";

interface Props {
  /** A list that comes in pages, as TanStack Query tells of it. */
  hasNextPage: boolean;
  isFetching: boolean;
  fetchNextPage: () => unknown;
}

/** The rest of a list, where there is more. */
export function ShowMore({ hasNextPage, isFetching, fetchNextPage }: Props) {
  return (
    hasNextPage && (
      <div>
        <Button disabled={isFetching} onClick={() => void fetchNextPage()}>
          Show more
        </Button>
      </div>
    )
  );
}
