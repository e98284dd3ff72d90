import type { Notice } from './page.ts'

/** What has been done, by the word that stands in an address: nobody can put other words on a page with a link. */
const done = {
  added: 'Added.',
  saved: 'Saved.',
  deleted: 'Deleted.',
  code: 'A new verification code was made: it stands below.',
  verified: 'Verified: possession of the private key is proven.',
  scheduled: 'The job is scheduled.',
  cancelled: 'The job is cancelled.',
  'switched-on': 'The fault is switched on.',
  'switched-off': 'The fault is switched off.',
} as const
export type Done = keyof typeof done

/** What is to be said after something was done. */
export function noticeOf(word: string | undefined): Notice | undefined {
  if (word === undefined || !Object.hasOwn(done, word)) return undefined
  return { tone: 'good', text: done[word as Done] }
}
