/** For test suites of programs that use leafkeeper: import it as `leafkeeper/testing`. */
export { temporaryToken, type TemporaryToken, type TemporaryTokenOptions } from './temporary-token.ts'
