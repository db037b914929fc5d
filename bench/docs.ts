export async function writeDocs(_: unknown): Promise<string[]> {
  return [];
}
