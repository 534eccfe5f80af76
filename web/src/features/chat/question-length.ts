/** As the server counts: by code points. */
export const MAX_QUESTION_CHARS = 4000;

export const questionLength = (text: string): number => Array.from(text).length;

export const fitsQuestion = (text: string): boolean => text.trim() !== "" && questionLength(text) <= MAX_QUESTION_CHARS;
