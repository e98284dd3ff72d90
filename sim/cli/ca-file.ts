import { rmSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** A PEM file for clients to trust. */
export interface CaFile {
  readonly path: string
  /** Removes it, unless it was asked for by name. */
  remove(): void
}

/** Writes the authority to the given file, or to one that goes with the process. */
export async function writeCaFile(pem: string, wanted: string | undefined): Promise<CaFile> {
  if (wanted !== undefined) {
    const path = resolve(wanted)
    await writeFile(path, pem)
    return { path, remove: () => undefined }
  }
  const folder = await mkdtemp(join(tmpdir(), 'leafkeeper-sim-'))
  const remove = (): void => {
    process.off('exit', remove)
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', remove)
  const path = join(folder, 'ca.pem')
  await writeFile(path, pem)
  return { path, remove }
}
