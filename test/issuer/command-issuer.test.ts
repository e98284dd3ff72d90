import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TestAuthority } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { commandIssuer, type CommandIssuerOptions } from '../../src/issuer/command-issuer.ts'
import { appears } from '../support/appears.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { issueRequest } from './requests.ts'

/** A program of a few lines, run by this Node. */
function script(source: string, options: Partial<CommandIssuerOptions> = {}): CommandIssuerOptions {
  return { program: process.execPath, arguments: ['-e', source], ...options }
}

const forever = 'setInterval(() => undefined, 1e6);'

describe('the command issuer', () => {
  it('hands over the request on standard input and what it is for in the environment', async () => {
    const issuer = commandIssuer(
      script(
        `
        const env = Object.entries(process.env).filter(([name]) => name.startsWith('LEAFKEEPER_') || name === 'MORE')
        const input = require('node:fs').readFileSync(0, 'utf8')
        console.log(JSON.stringify({ input, env: Object.fromEntries(env) }))`,
        { environment: { MORE: 'a value' } },
      ),
    )
    const request = await issueRequest({ reason: 'breach' })
    const expected = {
      LEAFKEEPER_COMMON_NAME: 'device-1',
      LEAFKEEPER_REQUEST_ID: 'request-1',
      LEAFKEEPER_REASON: 'breach',
      MORE: 'a value',
    }
    const told = async (answer: ReturnType<typeof issuer.submit>): Promise<unknown> => {
      const issued = await answer
      return issued.kind === 'issued' ? JSON.parse(issued.chain) : issued
    }
    expect(await told(issuer.submit(request))).toEqual({ input: request.csr, env: expected })
    expect(await told(issuer.resume('ticket 7', request))).toEqual({
      input: request.csr,
      env: { ...expected, LEAFKEEPER_TICKET: 'ticket 7' },
    })
  })

  it('takes the chain of a program that signs, such as openssl', async () => {
    const folder = await temporaryFolder()
    const root = await TestAuthority.createRoot({ commonName: 'root of a command' })
    const request = await issueRequest()
    const { chain } = await root.issueLeaf({ csr: request.csr })
    const issuer = commandIssuer({
      program: 'openssl',
      arguments: ['req', '-verify', '-noout', '-subject'],
      workingFolder: folder,
    })
    // openssl itself reads the request from standard input, as any other program does.
    expect(await issuer.submit(request)).toMatchObject({
      kind: 'issued',
      chain: expect.stringContaining('device-1') as unknown,
    })
    const cat = commandIssuer(
      script(`process.stdout.write(process.env.CHAIN)`, { environment: { CHAIN: chain } }),
    )
    expect(await cat.submit(request)).toEqual({ kind: 'issued', chain })
  })

  it('takes exit code 75 for not yet, with what was printed as the ticket', async () => {
    const issuer = commandIssuer(
      script('console.log(" order-17 "); process.exitCode = 75', { retryAfterMs: 5 }),
    )
    expect(await issuer.submit(await issueRequest())).toEqual({
      kind: 'pending',
      ticket: 'order-17',
      retryAfterMs: 5,
    })
  })

  const failures: [
    what: string,
    options: CommandIssuerOptions,
    code: string,
    retryable: boolean,
    message: RegExp,
  ][] = [
    [
      'refuses (77)',
      script('console.error("not \\u001b[31mone\\nof ours"); process.exitCode = 77'),
      'ISSUER_REFUSED',
      false,
      /refused the request \(exit code 77\), and said: not \[31mone of ours\./,
    ],
    [
      'fails',
      script('console.error("no route"); process.exitCode = 3'),
      'ISSUER_UNAVAILABLE',
      true,
      /ended with exit code 3, and said: no route\./,
    ],
    [
      'is not there',
      { program: '/nowhere/issue.sh' },
      'ISSUER_UNAVAILABLE',
      true,
      /\/nowhere\/issue\.sh could not be started .*ENOENT/,
    ],
    [
      'does not end',
      script(forever, { timeoutMs: 50 }),
      'ISSUER_UNAVAILABLE',
      true,
      /had not ended after 50 ms/,
    ],
    [
      'is killed',
      script('process.kill(process.pid, "SIGKILL");' + forever),
      'ISSUER_UNAVAILABLE',
      true,
      /was ended by SIGKILL/,
    ],
    [
      'prints without an end',
      script('const more = () => process.stdout.write("x".repeat(65536), more); more()'),
      'CERT_TOO_LARGE',
      false,
      /more than 65536 bytes/,
    ],
    [
      'prints a ticket without an end',
      script('console.log("t".repeat(2000)); process.exitCode = 75'),
      'ISSUER_UNAVAILABLE',
      true,
      /a ticket of 2000 characters/,
    ],
    [
      'says much before it fails',
      script('console.error("x".repeat(100000) + "the end"); process.exitCode = 1'),
      'ISSUER_UNAVAILABLE',
      true,
      /said: x{2040,2048}the end\./,
    ],
  ]
  it.each(failures)('with a program that %s', async (_what, options, code, retryable, message) => {
    const error: unknown = await commandIssuer(options)
      .submit(await issueRequest())
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code, retryable, message: expect.stringMatching(message) as unknown })
  })

  it('does not mind a program that never reads its input', async () => {
    const issuer = commandIssuer(script('process.stdout.write("no chain")'))
    const csr = 'x'.repeat(1_000_000) as Awaited<ReturnType<typeof issueRequest>>['csr']
    expect(await issuer.submit(await issueRequest({ csr }))).toEqual({ kind: 'issued', chain: 'no chain' })
  })

  it.each([
    ['when the request is given up', (abort: () => void) => abort(), 120_000],
    ['when its time is over, even if it does not listen', () => undefined, 1_500],
  ] as const)('ends with all that it has started, %s', async (_when, then, timeoutMs) => {
    const folder = await temporaryFolder()
    const pids = join(folder, 'pids')
    // Both ignore SIGTERM: the program, and what it leaves in the background.
    const stubborn = `trap '' TERM; sleep 1000 & echo "[$$, $!]" > '${pids}.new'; mv '${pids}.new' '${pids}'; wait`
    const issuer = commandIssuer({ program: 'sh', arguments: ['-c', stubborn], timeoutMs })
    const giveUp = new AbortController()
    const answer = issuer
      .submit(await issueRequest({ signal: giveUp.signal }))
      .catch((thrown: unknown) => thrown)
    const started = JSON.parse(await appears(pids)) as number[]
    then(() => giveUp.abort())
    expect(await answer).toMatchObject({ code: 'ISSUER_UNAVAILABLE' })
    for (const pid of started) expect(await isRunning(pid), `process ${pid}`).toBe(false)
  })

  it.each([
    [{ program: '' }, /program to be a path or a name/],
    [{ program: 'x', timeoutMs: 0 }, /timeoutMs to be from 1 to 300000, got 0/],
    [{ program: 'x', timeoutMs: 300_001 }, /timeoutMs/],
    [{ program: 'x', retryAfterMs: Number.NaN }, /retryAfterMs/],
  ] as [CommandIssuerOptions, RegExp][])('refuses the options %j', (options, message) => {
    expect(() => commandIssuer(options)).toThrow(message)
  })
})

/** Whether a process is there and no zombie: those are gone, only not yet collected. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  return stat !== undefined && !/^\d+ \(.*\) Z/.test(stat)
}
