import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { lockFolder } from '../../src/agent/folder-lock.ts'
import { compile } from '../support/command.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const inUse = { code: 'STATE_FOLDER_IN_USE' }

describe('the lock of a state folder', () => {
  it('is had by one at a time, who is named to others, and leaves nothing behind', async () => {
    const folder = await temporaryFolder()
    const release = await lockFolder(folder, 'the agent of gateway-7')
    await expect(lockFolder(folder, 'another')).rejects.toMatchObject({
      ...inUse,
      message: expect.stringMatching(
        new RegExp(
          `${folder} alone; it is held by the agent of gateway-7: process ${process.pid} on .+, since 20`,
        ),
      ) as unknown,
    })
    await release()
    await release()
    expect(await readdir(folder)).toEqual([])
    await (
      await lockFolder(folder, 'another')
    )()
  })

  it('is had by exactly one of many who want it at the same moment', async () => {
    const folder = await temporaryFolder()
    for (let round = 0; round < 50; round += 1) {
      const wanted = Array.from({ length: 10 }, (_, index) => lockFolder(folder, `agent ${index}`))
      const outcomes = await Promise.allSettled(wanted)
      const won = outcomes.filter((outcome) => outcome.status === 'fulfilled')
      expect(won).toHaveLength(1)
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject(inUse)
      for (const { value: release } of won) await release()
      expect(await readdir(folder)).toEqual([])
    }
  })

  it('does not stand in the way of another folder', async () => {
    const [one, other] = [await temporaryFolder(), await temporaryFolder()]
    const releases = await Promise.all([lockFolder(one, 'one'), lockFolder(other, 'other')])
    for (const release of releases) await release()
  })

  it('works in a folder whose path is longer than that of a socket may be', async () => {
    const folder = join(await temporaryFolder(), 'x'.repeat(120))
    await mkdir(folder)
    const release = await lockFolder(folder, 'deep down')
    await expect(lockFolder(folder, 'another')).rejects.toMatchObject({
      message: expect.stringContaining('deep down') as unknown,
    })
    await release()
    expect(await readdir(folder)).toEqual([])
  })

  it('clears away what a process left that ended before it had a name', async () => {
    const folder = await temporaryFolder()
    const left = createServer().listen(join(folder, '.lock-0123456789abcdef'))
    await once(left, 'listening')
    const release = await lockFolder(folder, 'next')
    expect(await readdir(folder)).toHaveLength(1)
    await release()
    left.close()
  })

  it('counts a stranger who listens in its place as a holder', async () => {
    const folder = await temporaryFolder()
    const stranger = createServer((socket) => socket.end('good day\n')).listen(
      join(folder, 'lock-0123456789abcdef'),
    )
    await once(stranger, 'listening')
    await expect(lockFolder(folder, 'agent')).rejects.toMatchObject({
      ...inUse,
      message: expect.stringContaining('does not answer') as unknown,
    })
    stranger.close()
  })

  it('says why it cannot be had where there is no folder', async () => {
    const folder = join(await temporaryFolder(), 'nowhere')
    await expect(lockFolder(folder, 'agent')).rejects.toMatchObject({
      code: 'JOURNAL_UNWRITABLE',
      reason: 'ENOENT',
    })
  })
})

const root = join(import.meta.dirname, '../..')
/** What a process needs to be root of namespaces of its own, as in a container. */
const container = ['unshare', '--pid', '--net', '--mount-proc', '--fork', '--kill-child']
const hasContainers = spawnSync(container[0] ?? '', [...container.slice(1), 'true']).status === 0

describe('between processes the lock', () => {
  beforeAll(compile, 120_000)

  it('is had by exactly one of several that start at the same moment', async () => {
    const folder = await temporaryFolder()
    const processes = Array.from({ length: 5 }, () => locking(folder))
    const outcomes = await Promise.all(processes.map(({ outcome }) => outcome))
    expect(outcomes.filter((outcome) => outcome === 'locked')).toHaveLength(1)
    expect(outcomes.filter((outcome) => outcome === 'STATE_FOLDER_IN_USE')).toHaveLength(4)
  })

  it('dies with its process, also when that is killed', async () => {
    const folder = await temporaryFolder()
    const { child, outcome } = locking(folder)
    expect(await outcome).toBe('locked')
    await expect(lockFolder(folder, 'next')).rejects.toMatchObject({
      message: expect.stringContaining(`process ${child.pid ?? 0} on`) as unknown,
    })
    child.kill('SIGKILL')
    await once(child, 'exit')
    // The socket is still there, as after a loss of power; nobody listens on it.
    expect(await readdir(folder)).toHaveLength(1)
    const release = await lockFolder(folder, 'next')
    expect(await readdir(folder)).toHaveLength(1)
    await release()
  })

  it('is not lost by a process that is stopped and does not answer', async () => {
    const folder = await temporaryFolder()
    const { child, outcome } = locking(folder)
    expect(await outcome).toBe('locked')
    child.kill('SIGSTOP')
    await expect(lockFolder(folder, 'next', 50)).rejects.toMatchObject({
      ...inUse,
      message: expect.stringContaining('does not answer') as unknown,
    })
    child.kill('SIGCONT')
  })

  it.skipIf(!hasContainers)('is seen from other containers, whatever process ids mean there', async () => {
    const folder = await temporaryFolder()
    const { child, outcome } = locking(folder, container)
    expect(await outcome).toBe('locked')
    // In its container it is process 1, which out here is another, and lives.
    await expect(lockFolder(folder, 'outside')).rejects.toMatchObject({
      message: expect.stringContaining('a child: process 1 on') as unknown,
    })
    expect(await locking(folder, container).outcome).toBe('STATE_FOLDER_IN_USE')
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await locking(folder, container).outcome).toBe('locked')
  })
})

/** A process that takes the lock of a folder and keeps it until it is killed, which is at the latest when the test ends. */
function locking(
  folder: string,
  prefix: readonly string[] = [],
): { child: ChildProcess; outcome: Promise<string> } {
  const script = `
    import { lockFolder } from ${JSON.stringify(join(root, 'dist/agent/folder-lock.js'))}
    lockFolder(${JSON.stringify(folder)}, 'a child').then(
      () => console.log('locked'), (error) => console.log(error.code))
    process.stdin.resume()`
  const [command, ...args] = [...prefix, process.execPath, '--input-type=module', '-e', script]
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const outcome = once(createInterface(child.stdout), 'line').then(([line]) => String(line))
  return { child, outcome }
}
