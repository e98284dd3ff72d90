import { connect } from 'node:net'

/** What a process says that listens on a lock. */
export interface LockAnswer {
  /** A candidate has not found out yet whether there is a holder. */
  readonly standing: 'candidate' | 'holder'
  readonly who: string
  /** Its number where it runs, which may be another container. */
  readonly pid: number
  readonly host: string
  /** ISO 8601. */
  readonly since: string
}

/**
 * - `dead`: nobody listens any more, so the socket can be removed;
 * - `withdrawn`: it was a candidate, and has given up or ended meanwhile;
 * - `silent`: somebody listens and does not say who; it counts as a holder.
 */
export type Rival = LockAnswer | 'dead' | 'withdrawn' | 'silent'

/** Asks whoever listens on a lock, until it is one to give way to, or has gone, or time is up. */
export async function askRival(
  path: string,
  givesWayTo: (standing: LockAnswer['standing']) => boolean,
  patienceMs: number,
): Promise<Rival> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const settle = (rival: Rival): void => {
      clearTimeout(patience)
      resolve(rival)
      socket.destroy()
    }
    const patience = setTimeout(() => settle('silent'), patienceMs)
    let connected = false
    socket.once('connect', () => (connected = true))
    socket.once('error', (error) => {
      const code = 'code' in error ? error.code : undefined
      // It gave up while this connection was still in its backlog; who holds the lock ends no connection.
      if (connected || code === 'ECONNRESET' || code === 'EPIPE') return settle('withdrawn')
      // A backlog that is full, or a socket of another user: somebody is there.
      settle(code === 'ECONNREFUSED' || code === 'ENOENT' ? 'dead' : 'silent')
    })
    socket.once('close', () => settle('withdrawn'))
    let line = ''
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (line + text).split('\n')
      line = lines.pop() ?? ''
      const rival = lines.map(readAnswer).find((answer) => answer === 'silent' || givesWayTo(answer.standing))
      if (rival !== undefined) settle(rival)
    })
  })
}

function readAnswer(line: string): LockAnswer | 'silent' {
  try {
    return JSON.parse(line) as LockAnswer
  } catch {
    return 'silent' // something else listens here
  }
}
