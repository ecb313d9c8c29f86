"""Models behind an Inspect provider, made here: each has one habit."""

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    modelapi,
)

GRADER_REPLY = (
    '<think>It does not.</think><answer>no</answer>\n```json\n{"reasoning": "As asked.", "score": 2, "rating": 2}\n```'
)


class HabitAPI(ModelAPI):
    """`habits/NAME`: always-a, always-b, good (picks the straight reply), essay, down, polite, grader."""

    def __init__(self, model_name, base_url=None, api_key=None, config=None, **model_args):
        super().__init__(model_name)
        self.calls = 0

    async def generate(self, input, tools, tool_choice, config):
        self.calls += 1
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=ChatMessageAssistant(content=self.say(input[-1].text)))],
        )

    def say(self, asked: str) -> str:
        match self.model_name:
            case "always-a":
                return "A"
            case "always-b":
                return "Answer: (B)."
            case "good":
                return "A" if asked.index("Straight") < asked.index("Crooked") else "B"
            case "essay":
                return "Both have merits, but A is a little better."
            case "down":
                raise RuntimeError("the service is down")
            case "grader":
                return GRADER_REPLY
        return "I can't help with that."


habits = modelapi(name="habits")(HabitAPI)


class ScriptAPI(ModelAPI):
    """Gives outputs one after the other, and fails when they are used up."""

    def __init__(self, outputs):
        super().__init__("script")
        self.outputs = list(outputs)

    async def generate(self, input, tools, tool_choice, config):
        if not self.outputs:
            raise RuntimeError("the script has ended")
        return self.outputs.pop(0)


_scripts = modelapi(name="script")(ScriptAPI)


def script(outputs) -> Model:
    """A model that says what is written."""
    return Model(_scripts(outputs), GenerateConfig())
