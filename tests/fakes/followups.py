"""Small documents on like subjects, and questions that follow on others: each names the passage that answers it."""

from __future__ import annotations

from typing import NamedTuple

COUNTRIES = {
    "France": {
        "Capital": "Paris is the seat of the government. It lies on the Seine and has been the chief town since 987.",
        "Population": "About 68 million people live here, one in six of them around the largest town.",
        "Mountains": "Mont Blanc, in the Alps, rises to 4806 metres above the sea.",
        "Food": "Bread, cheese and wine are on most tables; cassoulet is a stew of white beans from the south.",
        "History": "The monarchy fell in the revolution of 1789, and the Fifth Republic was founded in 1958.",
    },
    "Japan": {
        "Capital": "Tokyo became the seat of the emperor in 1868; it was called Edo until then.",
        "Population": "About 124 million people live here, and almost a third of them are older than 65.",
        "Mountains": "Mount Fuji, a volcano that last erupted in 1707, rises to 3776 metres.",
        "Food": "Rice is eaten with almost every meal; sushi began as a way to keep fish.",
        "History": "The shoguns of the Tokugawa family ruled from 1603 until the restoration of 1868.",
    },
    "Peru": {
        "Capital": "Lima was founded by Francisco Pizarro in 1535 on the coast of the Pacific.",
        "Population": "About 34 million people live here; a quarter of them speak Quechua.",
        "Mountains": "Huascarán, in the Cordillera Blanca, rises to 6768 metres.",
        "Food": "Ceviche is raw fish in lime juice; over three thousand kinds of potato are grown.",
        "History": "The empire of the Incas was conquered in 1533; independence was declared in 1821.",
    },
    "Kenya": {
        "Capital": "Nairobi grew from a depot that the railway set up in 1899.",
        "Population": "About 55 million people live here, and half of them are younger than twenty.",
        "Mountains": "Mount Kenya, an extinct volcano, rises to 5199 metres and gave the state its name.",
        "Food": "Ugali, a firm porridge of maize, is eaten with kale and grilled meat.",
        "History": "British rule ended in 1963; Jomo Kenyatta became the first president.",
    },
}
MACHINES = {
    "Dishwasher Aqua 300": {
        "Installation": "Two people should lift it. The hose must not be longer than 1.5 metres.",
        "Cleaning": "Rinse the filter under the tap every two weeks; never use steel wool.",
        "Errors": "E4 means that water has collected in the base: close the tap and call the service.",
        "Warranty": "The maker repairs defects free of charge for three years from the day of purchase.",
        "Energy": "The eco programme takes 0.7 kilowatt hours and 9 litres of water.",
    },
    "Coffee machine Barista 7": {
        "Installation": "Leave ten centimetres free above it, for the lid of the water tank.",
        "Cleaning": "Descale it when the lamp blinks, with citric acid and never with vinegar.",
        "Errors": "E4 means that the grinder is blocked: empty the hopper and turn the wheel back.",
        "Warranty": "The maker repairs defects free of charge for two years; the grinder is covered for five.",
        "Energy": "It draws 1400 watts while it heats and switches itself off after thirty minutes.",
    },
    "Robot mower Sheep": {
        "Installation": "Lay the border wire thirty centimetres from any wall before the first ride.",
        "Cleaning": "Brush off the grass when it is dry; the blades are changed every two months.",
        "Errors": "E4 means that a wheel has lost its grip: take the stones out of its way.",
        "Warranty": "The maker repairs defects free of charge for four years, the battery for one.",
        "Energy": "A charge of 45 minutes lasts for an hour of mowing, at 60 watts.",
    },
}


class Followup(NamedTuple):
    """A question after ``earlier`` ones, and the (document, section) that answers it."""

    earlier: tuple[str, ...]
    question: str
    document: str
    section: str


def documents() -> dict[str, bytes]:
    """File names and Markdown: a document for each subject, a passage for each section."""
    found = {}
    for subject, sections in {**COUNTRIES, **MACHINES}.items():
        parts = [f"# {subject}", *(f"## {name}\n\n{text}" for name, text in sections.items())]
        found[f"{subject.lower().replace(' ', '-')}.md"] = "\n\n".join(parts).encode()
    return found


FRANCE, JAPAN, PERU, KENYA = COUNTRIES
DISHES, COFFEE, MOWER = MACHINES
FOLLOWUPS = [
    Followup(("What is the capital of France?",), "And what about its population?", FRANCE, "Population"),
    Followup(("What is the capital of France?",), "What do people eat there?", FRANCE, "Food"),
    Followup(("What is the capital of France?",), "How high is the highest mountain?", FRANCE, "Mountains"),
    Followup(("How many people live in France?",), "When did the monarchy fall?", FRANCE, "History"),
    Followup(("What is eaten in France?",), "And which town is the capital?", FRANCE, "Capital"),
    Followup(("What is the capital of Japan?",), "And its population?", JAPAN, "Population"),
    Followup(("What is the capital of Japan?",), "Tell me about the food.", JAPAN, "Food"),
    Followup(("How many people live in Japan?",), "What is the highest mountain there?", JAPAN, "Mountains"),
    Followup(("Is Mount Fuji in Japan a volcano?",), "Who ruled there before the restoration?", JAPAN, "History"),
    Followup(("What is eaten in Japan?",), "And the capital?", JAPAN, "Capital"),
    Followup(("When was the capital of Peru founded?",), "How many people live in that country?", PERU, "Population"),
    Followup(("What is the capital of Peru?",), "What are typical dishes?", PERU, "Food"),
    Followup(("What is the capital of Peru?",), "And the mountains?", PERU, "Mountains"),
    Followup(("What is grown in Peru?",), "When did it become independent?", PERU, "History"),
    Followup(("How high are the mountains of Peru?",), "What is the capital?", PERU, "Capital"),
    Followup(("What is the capital of Kenya?",), "And what about its population?", KENYA, "Population"),
    Followup(("What is the capital of Kenya?",), "What is eaten there?", KENYA, "Food"),
    Followup(("How old are people in Kenya?",), "What about mountains?", KENYA, "Mountains"),
    Followup(("What is eaten in Kenya?",), "When did colonial rule end?", KENYA, "History"),
    Followup(("Who was the first president of Kenya?",), "What is the capital city?", KENYA, "Capital"),
    Followup(("How long is the warranty of the Aqua 300 dishwasher?",), "How do I clean it?", DISHES, "Cleaning"),
    Followup(("How do I clean the dishwasher Aqua 300?",), "What does E4 mean?", DISHES, "Errors"),
    Followup(("What does E4 mean on the dishwasher?",), "Is that covered by the warranty?", DISHES, "Warranty"),
    Followup(("How do I install the dishwasher?",), "How much energy does it use?", DISHES, "Energy"),
    Followup(("How much water does the dishwasher take?",), "What must I know to install it?", DISHES, "Installation"),
    Followup(("How do I descale the coffee machine?",), "And the warranty?", COFFEE, "Warranty"),
    Followup(("How long is the warranty of the Barista 7?",), "It shows E4. What now?", COFFEE, "Errors"),
    Followup(("What does E4 mean on the coffee machine?",), "How do I clean it?", COFFEE, "Cleaning"),
    Followup(("Where should I put the Barista 7?",), "How many watts does it draw?", COFFEE, "Energy"),
    Followup(
        ("How much power does the coffee machine take?",),
        "How much room does it need to be installed?",
        COFFEE,
        "Installation",
    ),
    Followup(("How do I lay the border wire of the robot mower?",), "And the warranty?", MOWER, "Warranty"),
    Followup(("How long does the mower Sheep run?",), "What does error E4 mean?", MOWER, "Errors"),
    Followup(("What does E4 mean on the mower?",), "How should I clean it?", MOWER, "Cleaning"),
    Followup(("How do I clean the robot mower?",), "How long does charging take?", MOWER, "Energy"),
    Followup(("How long is the warranty of the mower?",), "How is it installed?", MOWER, "Installation"),
    Followup(("What is the capital of France?", "And its population?"), "And the mountains?", FRANCE, "Mountains"),
    Followup(("What is the capital of Kenya?", "And its population?"), "What about the food?", KENYA, "Food"),
    Followup(("How do I clean the mower?", "And E4?"), "How long is the warranty?", MOWER, "Warranty"),
    Followup(("What is eaten in Peru?", "And the history?"), "How many people live there?", PERU, "Population"),
    Followup(("How do I install the coffee machine?", "And the warranty?"), "What does E4 mean?", COFFEE, "Errors"),
]
# Questions that stand by themselves, after questions on something else.
CHANGES = [
    Followup((before.earlier[0],), question, document, section)
    for before, (question, document, section) in zip(
        FOLLOWUPS,
        [
            ("What is the population of Japan?", JAPAN, "Population"),
            ("What do people eat in Kenya?", KENYA, "Food"),
            ("How high is the highest mountain of Peru?", PERU, "Mountains"),
            ("When did Kenya become independent?", KENYA, "History"),
            ("What is the capital of Peru?", PERU, "Capital"),
            ("How many people live in France?", FRANCE, "Population"),
            ("What is cassoulet?", FRANCE, "Food"),
            ("How high is Mont Blanc?", FRANCE, "Mountains"),
            ("When was the Fifth Republic of France founded?", FRANCE, "History"),
            ("When was Nairobi founded?", KENYA, "Capital"),
            ("How many people live in Kenya?", KENYA, "Population"),
            ("What is ugali made of?", KENYA, "Food"),
            ("How high is Mount Fuji?", JAPAN, "Mountains"),
            ("Who were the shoguns of Japan?", JAPAN, "History"),
            ("What was Tokyo called before 1868?", JAPAN, "Capital"),
            ("How do I clean the filter of the dishwasher?", DISHES, "Cleaning"),
            ("What does E4 mean on the robot mower?", MOWER, "Errors"),
            ("How long is the warranty of the coffee machine?", COFFEE, "Warranty"),
            ("How do I lay the border wire?", MOWER, "Installation"),
            ("How much water does the eco programme of the dishwasher take?", DISHES, "Energy"),
            ("What is the capital of Japan?", JAPAN, "Capital"),
            ("What is ceviche?", PERU, "Food"),
            ("Who was the first president of Kenya?", KENYA, "History"),
            ("How many people live in Peru?", PERU, "Population"),
            ("How high is Mount Kenya?", KENYA, "Mountains"),
            ("How long is the warranty of the dishwasher?", DISHES, "Warranty"),
            ("How do I clean the robot mower?", MOWER, "Cleaning"),
            ("What is the capital of France?", FRANCE, "Capital"),
            ("How long does the mower take to charge?", MOWER, "Energy"),
            ("What does E4 mean on the dishwasher?", DISHES, "Errors"),
            ("How do I descale the coffee machine?", COFFEE, "Cleaning"),
            ("Who founded Lima?", PERU, "Capital"),
            ("How many potatoes are grown in Peru?", PERU, "Food"),
            ("What does E4 mean on the coffee machine?", COFFEE, "Errors"),
            ("When did the Incas lose their empire?", PERU, "History"),
            ("How is the dishwasher installed?", DISHES, "Installation"),
            ("How many watts does the coffee machine draw?", COFFEE, "Energy"),
            ("Is Mount Fuji a volcano?", JAPAN, "Mountains"),
            ("How long is the warranty of the robot mower?", MOWER, "Warranty"),
            ("What is eaten in Japan?", JAPAN, "Food"),
        ],
        strict=True,
    )
]
