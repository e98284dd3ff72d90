/**
 * The `$rid` among the parameters of a topic, as it stands there: it comes back in the topic of the answer, where
 * what was decoded could stand for something else, or must not stand (`+`, `#`).
 *
 * @returns `undefined` when there is none, or one of more than 1024 characters, which no answer has room for
 */
export function requestIdIn(parameters: string): string | undefined {
  const [, requestId] = /(?:^|&)(?:\$|%24)rid=([^&]{1,1024})(?:&|$)/i.exec(parameters) ?? []
  return requestId
}
